/**
 * Checkpoints that are whole or not there at all, on HDFS and local file systems.
 *
 * <pre>
 *   RUN/LOCK                                   who trains here; see {@link sparkvision.checkpoint.RunLock}
 *   RUN/checkpoints/step-000000000400/
 *       model.safetensors                      parameters and running statistics, state-dict names
 *       optimizer-0.safetensors ...            optimizer state, one file a rank
 *       outer.safetensors                      the outer optimizer's momentum, with one
 *       residual-0.safetensors ...             what a bfloat16 exchange owes, with one
 *       state.json                             step, cursor, seed, configuration, history
 *       MANIFEST.json                          step, and name, length, CRC32C of every file above
 *   RUN/checkpoints/.tmp-UUID-step-000000000400/   one that is being written
 * </pre>
 *
 * <p>Commit: every part is written into the temporary sibling directory and closed; the manifest
 * goes in last; the directory is renamed, and the result of the rename is checked, since HDFS
 * reports a refused rename by {@code false} and not by an exception. So a directory called {@code
 * step-*} is complete unless its storage was damaged afterwards.
 *
 * <p>Resume: newest first, each candidate's manifest is read and the length and CRC32C of every
 * file recomputed. One that does not verify is skipped with a line that says why; if there are
 * checkpoints and none verifies, resuming fails rather than starting anew.
 *
 * <p>Retention, after a commit: the last K, the best by validation accuracy, and every M-th epoch.
 *
 * <p>Fencing: a second driver on the same run directory is refused while the first one's lock
 * beats, and a driver that lost its lock cannot commit.
 */
package sparkvision.checkpoint;
