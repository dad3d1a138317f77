"""Running graphs in TensorFlow on sample data, and what is measured on the way."""
