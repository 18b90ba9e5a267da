package sparkvision.data;

/**
 * Input data that cannot be used; the message is one sentence that says what is wrong with what.
 */
public final class DataException extends RuntimeException {

  public DataException(String sentence) {
    super(sentence);
  }

  public DataException(String sentence, Throwable cause) {
    super(sentence, cause);
  }
}
