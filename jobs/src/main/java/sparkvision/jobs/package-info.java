/**
 * The command line: one class a job.
 *
 * <pre>
 *   raw images --shard--> shard set --train--> run directory --evaluate--> report
 * </pre>
 *
 * <p>Every job reads a record from {@code conf/JOB.conf}, overlaid by {@code --conf FILE} and
 * {@code key=value}. Each job's {@code output} is the next one's input.
 */
package sparkvision.jobs;
