/**
 * Training by averaging over the executors of a Spark application.
 *
 * <pre>
 *   take the run's lock; restore the newest checkpoint that verifies
 *   while steps are left:
 *     N = the slots that there are, no more than wanted; where some are gone, wait for others
 *     one barrier job, a segment, up to the next evaluation; rank r of N:
 *       restore the last checkpoint
 *       for each step: next batch, forward, backward, accumulateSteps times; update
 *                      every H steps, and at the end: average with the other ranks, outer step
 *                      behind it, if the driver says so: write a checkpoint in the background
 *       write the parts of the last checkpoint
 *     at an epoch's end: evaluate the validation set
 *     commit the checkpoint; delete those that no rule keeps
 *     whatever went wrong: say so, and go on from the last checkpoint
 * </pre>
 *
 * <p>What the task of a shard set decides (input, loss, evaluation) is an {@link
 * sparkvision.train.Objective}; the rest of the loop is the same for all.
 *
 * <p>{@link sparkvision.train.Sync} says how long H is and what the outer step is; with {@code
 * average=gradients} it is the gradients that are averaged, before each update. Every rank takes
 * the outer step by itself, from the same mean to the same bits. What goes over the network, and
 * how, is an {@link sparkvision.train.Exchange}'s business.
 *
 * <p>With {@code mode=parameter-server} ranks also send each other their updates in between,
 * without waiting ({@link sparkvision.train.GradientSharing}).
 *
 * <p>Weights and running statistics are averaged with equal weights, since all ranks have seen the
 * same number of images; optimizer state stays with its rank and is part of the checkpoint. So does
 * a moving average of the weights, if there is one; {@link MovingAverage} says why the ranks' mean
 * is the one to evaluate.
 *
 * <p>A segment starts from its checkpoint whether the run was interrupted there or not, and those
 * in between hold all that the ranks go on with. So the weights after a resumed run equal those of
 * an uninterrupted one bit for bit, and an executor keeps no state between segments. With the same
 * configuration, seed, ranks and threads a rank two runs give the same bits: the order of samples
 * and their augmentation are pure functions ({@link sparkvision.data}), and the averaging sums in
 * rank order.
 *
 * <p>Where the number of ranks changes, the rest of the epoch is cut anew ({@link
 * sparkvision.data.Course}) and schedules by epochs keep their place. Each rank goes on with the
 * optimizer state of the same number; with fewer ranks that of the others is left, with more ranks
 * the new ones begin with a copy.
 */
package sparkvision.train;
