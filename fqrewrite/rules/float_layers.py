"""Operations with weights that no preset has a quantizer for: listed, never passed over in silence."""

from __future__ import annotations

from fqrewrite.match.proposal import Rule
from fqrewrite.rules._layer import list_layers

_WHY = {
    "Conv3D": "the integer runtime has no 3-D convolution",
    "Conv3DBackpropInputV2": "the integer runtime has no 3-D convolution",
    "DepthwiseConv2dNativeBackpropInput": "a transposed depthwise convolution has no quantizer in this preset",
    "Dilation2D": "the integer runtime has no morphological dilation",
    "_FusedConv2D": "it is already fused by grappler",
    "_FusedDepthwiseConv2dNative": "it is already fused by grappler",
    "_FusedMatMul": "it is already fused by grappler",
    "LSTMBlockCell": "a fused LSTM cell has no quantizer in this preset",
    "BlockLSTM": "a fused LSTM has no quantizer in this preset",
    "BlockLSTMV2": "a fused LSTM has no quantizer in this preset",
    "GRUBlockCell": "a fused GRU cell has no quantizer in this preset",
    "CudnnRNN": "a fused RNN has no quantizer in this preset",
    "CudnnRNNV2": "a fused RNN has no quantizer in this preset",
    "CudnnRNNV3": "a fused RNN has no quantizer in this preset",
    "SparseTensorDenseMatMul": "a sparse matmul has no integer kernel",
}


RULE = Rule(
    name="float_layers",
    phase="layer",
    ops=tuple(_WHY),
    summary="3-D, sparse, recurrent and grappler-fused layers stay float and are listed.",
    propose=list_layers(_WHY),
)
