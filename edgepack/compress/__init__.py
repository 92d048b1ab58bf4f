"""From a Keras model to small TFLite files: loading, passes, conversion, checks."""
