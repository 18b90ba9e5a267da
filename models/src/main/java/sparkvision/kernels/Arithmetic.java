package sparkvision.kernels;

/** What can be done with two numbers. */
public enum Arithmetic {
  ADD,
  SUBTRACT,
  MULTIPLY,
  DIVIDE
}
