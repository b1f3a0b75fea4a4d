"""Images in: folders, drawn scenes, benchmarks. Labels stay here and in `metrics`."""

from delaminate.data.clips import is_clip, read_clip
from delaminate.data.enlargement import detect_enlargement, is_enlarged, undo_enlargement
from delaminate.data.folders import load_folder
from delaminate.data.labelled import load_labelled_folder, write_folder
from delaminate.data.reading import fit_image, read_image
from delaminate.data.registry import load_benchmark, load_photos, names, open_data
from delaminate.data.sets import ImageSet, LabelledSet, Labels
from delaminate.data.synthetic.scenes import draw, draw_images, true_sprites

__all__ = [
    "ImageSet",
    "LabelledSet",
    "Labels",
    "detect_enlargement",
    "draw",
    "draw_images",
    "fit_image",
    "is_clip",
    "is_enlarged",
    "load_benchmark",
    "load_folder",
    "load_labelled_folder",
    "load_photos",
    "names",
    "open_data",
    "read_clip",
    "read_image",
    "true_sprites",
    "undo_enlargement",
    "write_folder",
]
