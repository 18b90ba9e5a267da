/**
 * Training by averaging over the executors of a Spark application.
 *
 * <pre>
 *   take the run's lock; restore the newest checkpoint that verifies
 *   while steps are left:
 *     one barrier job, a segment; rank r of N:
 *       restore the segment's checkpoint
 *       for each step: next batch, forward, backward, accumulateSteps times; update
 *                      every H steps, and at the end: average with the other ranks, outer step
 *       write the parts of the next checkpoint
 *     at an epoch's end: evaluate the validation set
 *     commit the checkpoint; delete those that no rule keeps
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
 * <p>Weights and running statistics are averaged with equal weights, since all ranks have seen the
 * same number of images; optimizer state stays with its rank and is part of the checkpoint. So does
 * a moving average of the weights, if there is one; {@link MovingAverage} says why the ranks' mean
 * is the one to evaluate.
 *
 * <p>A segment starts from its checkpoint whether the run was interrupted there or not. So the
 * weights after a resumed run equal those of an uninterrupted one bit for bit, and an executor
 * keeps no state between segments. With the same configuration, seed, ranks and threads a rank two
 * runs give the same bits: the order of samples and their augmentation are pure functions ({@link
 * sparkvision.data}), and the averaging sums in rank order.
 */
package sparkvision.train;
