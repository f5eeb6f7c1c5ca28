"""Image transformers: reading, size, layout, colour, intensity."""

from sklearn_l2cnn.preprocessing._colour import ToChannels, ToGray
from sklearn_l2cnn.preprocessing._contrast import ContrastNormalizer, HistogramEqualizer
from sklearn_l2cnn.preprocessing._geometry import (
    CenterCropper,
    ImagePadder,
    ImageResizer,
)
from sklearn_l2cnn.preprocessing._layout import (
    ChannelsFirst,
    ChannelsLast,
    ImagesToRows,
    RowsToImages,
)
from sklearn_l2cnn.preprocessing._reader import ImageReader
from sklearn_l2cnn.preprocessing._scaling import PixelScaler
from sklearn_l2cnn.preprocessing._standardizing import (
    ChannelStandardizer,
    PixelStandardizer,
)
from sklearn_l2cnn.preprocessing._torchvision import TorchvisionTransformer
from sklearn_l2cnn.preprocessing._whitening import PatchWhitener

__all__ = [
    "CenterCropper",
    "ChannelStandardizer",
    "ChannelsFirst",
    "ChannelsLast",
    "ContrastNormalizer",
    "HistogramEqualizer",
    "ImagePadder",
    "ImageReader",
    "ImageResizer",
    "ImagesToRows",
    "PatchWhitener",
    "PixelScaler",
    "PixelStandardizer",
    "RowsToImages",
    "ToChannels",
    "ToGray",
    "TorchvisionTransformer",
]
