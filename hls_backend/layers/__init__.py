"""One file a FINN layer."""

from hls_backend.layers.addstreams import AddStreams
from hls_backend.layers.channelpadding import channel_padding
from hls_backend.layers.channelwiseop import ChannelwiseOp
from hls_backend.layers.convolutioninputgenerator import ConvolutionInputGenerator
from hls_backend.layers.duplicatestreams import DuplicateStreams
from hls_backend.layers.fmpadding import FMPadding
from hls_backend.layers.globalaccpool import GlobalAccPool
from hls_backend.layers.labelselect import LabelSelect
from hls_backend.layers.mvau import MVAU
from hls_backend.layers.pool import Pool
from hls_backend.layers.reshape import Reshape
from hls_backend.layers.streamingdatawidthconverter import StreamingDataWidthConverter
from hls_backend.layers.streamingfifo import StreamingFIFO
from hls_backend.layers.thresholding import Thresholding
from hls_backend.layers.vvau import VVAU

__all__ = [
    "MVAU",
    "VVAU",
    "AddStreams",
    "ChannelwiseOp",
    "ConvolutionInputGenerator",
    "DuplicateStreams",
    "FMPadding",
    "GlobalAccPool",
    "LabelSelect",
    "Pool",
    "Reshape",
    "StreamingDataWidthConverter",
    "StreamingFIFO",
    "Thresholding",
    "channel_padding",
]
