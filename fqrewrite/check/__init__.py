"""Whether the converter makes an integer model of a fake-quantized graph: before converting, and by converting."""
