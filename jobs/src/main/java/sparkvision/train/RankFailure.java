package sparkvision.train;

import sparkvision.JobException.Exit;

/**
 * Why a rank gave up.
 *
 * @param exit the exit code this means for the job
 * @param sentence what the user reads
 */
record RankFailure(int rank, Exit exit, String sentence) {}
