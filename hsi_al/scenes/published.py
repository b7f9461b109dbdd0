"""The public scenes of the catalogue: their files, shapes, classes and where these facts are from.

A fact about a scene is here only if public material says it, which each entry names; what is not known is left out.
Files with a known checksum are downloaded, others are put into a folder by the user.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hsi_al.scenes.download import SceneFile

PAGE = "https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes"


@dataclass(frozen=True)
class PlacedFile:
    """A published file that the user puts into a folder, since no checksum of it is known.

    Attributes:
        name: File name without folders.
        key: Key of the array in the file; None = the file holds one.
    """

    name: str
    key: str | None = None


@dataclass(frozen=True)
class CatalogueEntry:
    """A public scene.

    Attributes:
        title: Full name of the scene, for messages.
        shape: Shape (H, W, B) of the cube in its file.
        cube: Published file of the cube.
        ground_truth: Published file of the ground truth, of the labels to learn from if `test` is given.
        class_names: Label value -> published name.
        licence: Licence of the data.
        citation: Source to cite for the data.
        classes: Label values kept by default; None keeps all.
        rgb_bands: Bands (from 0) shown as red, green and blue in a false-colour picture.
        embedded: Whether the package contains the scene.
        page: Web page that describes and offers the files.
        test: Published file of the labels that only test; None = there is none.
        n_bands: How many of the file's bands, the first ones, are part of the spectrum; None = all.
        label_step: How many pixels of the ground truth lie side by side in one pixel of the cube.
        counts: Label value -> published number of pixels in `ground_truth`; empty = not known.
        test_counts: Likewise in `test`.
        labelled: Published number of labelled pixels in `ground_truth`, where `counts` are not known; None = neither.
        hint: What to know about the files before they are put into a folder, after a semicolon.
    """

    title: str
    shape: tuple[int, int, int]
    cube: SceneFile | PlacedFile
    ground_truth: SceneFile | PlacedFile
    class_names: Mapping[int, str]
    licence: str
    citation: str
    classes: tuple[int, ...] | None = None
    rgb_bands: tuple[int, int, int] | None = None
    embedded: bool = False
    page: str = PAGE
    test: PlacedFile | None = None
    n_bands: int | None = None
    label_step: int = 1
    counts: Mapping[int, int] = field(default_factory=dict)
    test_counts: Mapping[int, int] = field(default_factory=dict)
    labelled: int | None = None
    hint: str = ""

    @property
    def files(self) -> list[SceneFile | PlacedFile]:
        """All files of the scene: cube, ground truth and, if there is one, the labels that test."""
        return [self.cube, self.ground_truth, *([] if self.test is None else [self.test])]


def _numbered(names: str) -> dict[int, str]:
    return dict(enumerate((name.strip() for name in names.split(",")), start=1))


def _counted(*counts: int) -> dict[int, int]:
    return dict(enumerate(counts, start=1))


_INDIAN_PINES = CatalogueEntry(
    title="Indian Pines, 16 classes",
    shape=(145, 145, 200),
    cube=SceneFile(
        "6/67/Indian_pines_corrected.mat",
        5953527,
        "ec2f8808710919d566f70f0d4aa885aae1ddfd42b734aba71c5e12ca65450939",
        "indian_pines_corrected",
    ),
    ground_truth=SceneFile(
        "c/c4/Indian_pines_gt.mat",
        1125,
        "65c4687a8ab04f6da4789799bc3bc4f6e88bccac3ed6a2e6ae367e5e6b9e429c",
        "indian_pines_gt",
    ),
    class_names=_numbered(
        "Alfalfa, Corn-notill, Corn-mintill, Corn, Grass-pasture, Grass-trees, Grass-pasture-mowed, Hay-windrowed, "
        "Oats, Soybean-notill, Soybean-mintill, Soybean-clean, Wheat, Woods, Buildings-Grass-Trees-Drives, "
        "Stone-Steel-Towers"
    ),
    licence="CC BY 3.0",
    citation=(
        "Baumgardner, Biehl, Landgrebe 2015, 220 Band AVIRIS Hyperspectral Image Data Set: June 12, 1992 Indian Pine "
        "Test Site 3, Purdue University Research Repository, doi:10.4231/R7RX991C"
    ),
    rgb_bands=(43, 21, 11),
    embedded=True,
)

_PAVIA_UNIVERSITY = CatalogueEntry(
    title="University of Pavia",
    shape=(610, 340, 103),
    cube=SceneFile(
        "e/ee/PaviaU.mat",
        34806917,
        "28447fa87f7a5797845e9a189c0da85e23b1d06a4ba7361e5ff44efbf834d2fb",
        "paviaU",
    ),
    ground_truth=SceneFile(
        "5/50/PaviaU_gt.mat",
        11005,
        "23f6a426928f9b32984adffe659e29f554f9fb6c93b5a107528d308d5087a829",
        "paviaU_gt",
    ),
    class_names=_numbered(
        "Asphalt, Meadows, Gravel, Trees, Painted metal sheets, Bare Soil, Bitumen, Self-Blocking Bricks, Shadows"
    ),
    licence="none stated by the publisher",
    citation=f"Paolo Gamba, Telecommunications and Remote Sensing Laboratory, University of Pavia; published at {PAGE}",
    rgb_bands=(55, 41, 12),
)

_SALINAS = CatalogueEntry(
    title="Salinas",
    shape=(512, 217, 204),
    cube=SceneFile(
        "a/a3/Salinas_corrected.mat",
        26552770,
        "5ec1c0d22f56d18ecd336f8e35735863c0f160682e04e0c18ef3f89a3334d87d",
        "salinas_corrected",
    ),
    ground_truth=SceneFile(
        "f/fa/Salinas_gt.mat",
        4277,
        "ecfab4d31ef5553f097943235d8ea502038eb4a2067b2ad10b33e37c949955e2",
        "salinas_gt",
    ),
    class_names=_numbered(
        "Brocoli_green_weeds_1, Brocoli_green_weeds_2, Fallow, Fallow_rough_plow, Fallow_smooth, Stubble, Celery, "
        "Grapes_untrained, Soil_vinyard_develop, Corn_senesced_green_weeds, Lettuce_romaine_4wk, "
        "Lettuce_romaine_5wk, Lettuce_romaine_6wk, Lettuce_romaine_7wk, Vinyard_untrained, Vinyard_vertical_trellis"
    ),
    licence="none stated by the publisher",
    citation=f"AVIRIS sensor, Salinas Valley, California; published at {PAGE}",
    rgb_bands=(43, 21, 11),
)

# A window of Salinas with the same label values, here 1 and 10 to 14.
_SALINAS_A = replace(
    _SALINAS,
    title="Salinas-A",
    shape=(83, 86, 204),
    cube=SceneFile(
        "1/1a/SalinasA_corrected.mat",
        1539086,
        "d75684ed3ab71a1024cee0f9db9061f50a3523a92ff5edfbbb1eed976b9f1721",
        "salinasA_corrected",
    ),
    ground_truth=SceneFile(
        "a/aa/SalinasA_gt.mat",
        587,
        "17814c1d3296c0e29b27f320f2c4174d2a68adb87e376abe78f02923e2c2e454",
        "salinasA_gt",
    ),
    class_names={value: _SALINAS.class_names[value] for value in (1, 10, 11, 12, 13, 14)},
)

# Names, files, keys and colour bands: datasets.py of github.com/nshaud/DeepHyperX. Bands, date, no licence stated:
# the card of huggingface.co/datasets/danaroth/kennedy_space_center, a copy of the page. Counts: the label map in
# github.com/shinyypig/hyperspectral_image_toolbox. Other copies of the page call classes 4 to 7 Slash pine,
# Oak/Broadleaf, Hardwood and Swamp.
_KSC = CatalogueEntry(
    title="Kennedy Space Center",
    shape=(512, 614, 176),
    cube=PlacedFile("KSC.mat", "KSC"),
    ground_truth=PlacedFile("KSC_gt.mat", "KSC_gt"),
    class_names=_numbered(
        "Scrub, Willow swamp, Cabbage palm hammock, Cabbage palm/oak hammock, Slash pine, Oak/broadleaf hammock, "
        "Hardwood swamp, Graminoid marsh, Spartina marsh, Cattail marsh, Salt marsh, Mud flats, Water"
    ),
    licence="none stated by the publisher",
    citation=f"AVIRIS sensor, Kennedy Space Center, Florida, March 23, 1996; published at {PAGE}",
    rgb_bands=(43, 21, 11),
    counts=_counted(761, 243, 256, 252, 161, 229, 105, 431, 520, 404, 419, 503, 927),
)

# Names, files, keys and colour bands: DeepHyperX. Bands, date, no licence stated: the card of
# huggingface.co/datasets/danaroth/botswana. Shape and number of labelled pixels: the README of a repository that
# holds these files.
_BOTSWANA = CatalogueEntry(
    title="Botswana",
    shape=(1476, 256, 145),
    cube=PlacedFile("Botswana.mat", "Botswana"),
    ground_truth=PlacedFile("Botswana_gt.mat", "Botswana_gt"),
    class_names=_numbered(
        "Water, Hippo grass, Floodplain grasses 1, Floodplain grasses 2, Reeds, Riparian, Firescar, Island interior, "
        "Acacia woodlands, Acacia shrublands, Acacia grasslands, Short mopane, Mixed mopane, Exposed soils"
    ),
    licence="none stated by the publisher",
    citation=f"Hyperion sensor on EO-1, Okavango Delta, Botswana, May 31, 2001; published at {PAGE}",
    rgb_bands=(75, 33, 15),
    labelled=3248,
)

# Names, files, keys and colour bands: DeepHyperX. No licence stated: the card of
# huggingface.co/datasets/danaroth/pavia, whose 476 to 1,260 pixels a class are those of a training set. Shape and
# number of labelled pixels: as for Botswana.
_PAVIA_CENTRE = CatalogueEntry(
    title="Pavia Centre",
    shape=(1096, 715, 102),
    cube=PlacedFile("Pavia.mat", "pavia"),
    ground_truth=PlacedFile("Pavia_gt.mat", "pavia_gt"),
    class_names=_numbered("Water, Trees, Asphalt, Self-Blocking Bricks, Bitumen, Tiles, Shadows, Meadows, Bare Soil"),
    licence=_PAVIA_UNIVERSITY.licence,
    citation=_PAVIA_UNIVERSITY.citation,
    rgb_bands=(55, 41, 12),
    labelled=148152,
)

# Files, names and band centres, of which the colour bands are the nearest to 650, 550 and 450 nm:
# fetch_houston2013.py of github.com/songyz2019/rs-fusion-datasets, whose checksums list the archive: the cube, and
# the training labels as ENVI regions of interest. Label maps of these names are used by several programs. Counts:
# published divisions, whose sums are the counts of the label map in github.com/XinweiJiang/S3-ULDA.
_HOUSTON_2013 = CatalogueEntry(
    title="Houston 2013",
    shape=(349, 1905, 144),
    cube=PlacedFile("2013_IEEE_GRSS_DF_Contest_CASI.tif"),
    ground_truth=PlacedFile("2013_IEEE_GRSS_DF_Contest_Samples_TR.tif"),
    test=PlacedFile("2013_IEEE_GRSS_DF_Contest_Samples_VA.tif"),
    class_names=_numbered(
        "Healthy grass, Stressed grass, Synthetic grass, Trees, Soil, Water, Residential, Commercial, Road, Highway, "
        "Railway, Parking Lot 1, Parking Lot 2, Tennis Court, Running Track"
    ),
    licence="the contest's terms, in copyright.txt beside the data",
    citation="2013 IEEE GRSS Data Fusion Contest, data by NCALM and the University of Houston",
    rgb_bands=(60, 39, 18),
    page="https://machinelearning.ee.uh.edu/?page_id=459",
    counts=_counted(198, 190, 192, 188, 186, 182, 196, 191, 193, 191, 181, 192, 184, 181, 187),
    test_counts=_counted(1053, 1064, 505, 1056, 1056, 143, 1072, 1053, 1059, 1036, 1054, 1041, 285, 247, 473),
    hint="the labels are published as ENVI regions of interest, of which you make label maps on the cube's grid",
)

# Files, names and the two bands that are left out: custom_datasets.py of DeepHyperX; a copy of it gives the shapes,
# and takes the nearest label, too. Band centres and terms: github.com/songyz2019/rs-fusion-datasets. Test labels and
# counts are not known.
_HOUSTON_2018 = CatalogueEntry(
    title="Houston 2018",
    shape=(601, 2384, 50),
    cube=PlacedFile("2018_IEEE_GRSS_DFC_HSI_TR.HDR"),
    ground_truth=PlacedFile("2018_IEEE_GRSS_DFC_GT_TR.tif"),
    class_names=_numbered(
        "Healthy grass, Stressed grass, Artificial turf, Evergreen trees, Deciduous trees, Bare earth, Water, "
        "Residential buildings, Non-residential buildings, Roads, Sidewalks, Crosswalks, Major thoroughfares, "
        "Highways, Railways, Paved parking lots, Unpaved parking lots, Cars, Trains, Stadium seats"
    ),
    licence="the publisher's terms: tell them who you are, cite the data and acknowledge both publishers",
    citation=(
        "2018 IEEE GRSS Data Fusion Contest, IEEE GRSS Image Analysis and Data Fusion Technical Committee and "
        "Hyperspectral Image Analysis Lab, University of Houston"
    ),
    rgb_bands=(19, 12, 5),
    page=(
        "https://machinelearning.ee.uh.edu/2018-ieee-grss-data-fusion-challenge-fusion-of-multispectral-lidar-and-"
        "hyperspectral-data/"
    ),
    n_bands=48,
    label_step=2,
    hint="put the file 2018_IEEE_GRSS_DFC_HSI_TR beside its header",
)

# Files, shape, licence and citation: the card of huggingface.co/datasets/danaroth/chikusei, a copy whose file sizes
# are those of uint16 and uint8 in this shape. Names and number of labelled pixels: programs that read the files.
_CHIKUSEI = CatalogueEntry(
    title="Chikusei",
    shape=(2517, 2335, 128),
    cube=PlacedFile("HyperspecVNIR_Chikusei_20140729.bsq"),
    ground_truth=PlacedFile("HyperspecVNIR_Chikusei_20140729_Ground_Truth.bsq"),
    class_names=_numbered(
        "Water, Bare soil (school), Bare soil (park), Bare soil (farmland), Natural plants, Weeds in farmland, Forest, "
        "Grass, Rice field (grown), Rice field (first stage), Row crops, Plastic house, Manmade (non-dark), "
        "Manmade (dark), Manmade (blue), Manmade (red), Manmade grass, Asphalt, Paved ground"
    ),
    licence="CC BY 3.0",
    citation=(
        "Yokoya, Iwasaki 2016, Airborne hyperspectral data over Chikusei, technical report, Space Application "
        "Laboratory, University of Tokyo"
    ),
    page="https://naotoyokoya.com/Download.html",
    labelled=77592,
    hint="take the ENVI files, with the two headers (.hdr) beside them",
)

# Files, keys, names and shapes: programs that read the files, which agree. Counts of LongKou and HongHu: one of them;
# those of HanChuan are not known, nor is a licence.
_WHU_HI_LONGKOU = CatalogueEntry(
    title="WHU-Hi-LongKou",
    shape=(550, 400, 270),
    cube=PlacedFile("WHU_Hi_LongKou.mat", "WHU_Hi_LongKou"),
    ground_truth=PlacedFile("WHU_Hi_LongKou_gt.mat", "WHU_Hi_LongKou_gt"),
    class_names=_numbered(
        "Corn, Cotton, Sesame, Broad-leaf soybean, Narrow-leaf soybean, Rice, Water, Roads and houses, Mixed weed"
    ),
    licence="not known here; see the page",
    citation="Zhong et al. 2020, Remote Sensing of Environment 250, 112012 (RSIDEA, Wuhan University)",
    page="http://rsidea.whu.edu.cn/resource_WHUHi_sharing.htm",
    counts=_counted(34511, 8374, 3031, 63212, 4151, 11854, 67056, 7124, 5229),
)

_WHU_HI_HANCHUAN = replace(
    _WHU_HI_LONGKOU,
    title="WHU-Hi-HanChuan",
    shape=(1217, 303, 274),
    cube=PlacedFile("WHU_Hi_HanChuan.mat", "WHU_Hi_HanChuan"),
    ground_truth=PlacedFile("WHU_Hi_HanChuan_gt.mat", "WHU_Hi_HanChuan_gt"),
    class_names=_numbered(
        "Strawberry, Cowpea, Soybean, Sorghum, Water spinach, Watermelon, Greens, Trees, Grass, Red roof, Gray roof, "
        "Plastic, Bare soil, Road, Bright object, Water"
    ),
    counts={},
)

_WHU_HI_HONGHU = replace(
    _WHU_HI_LONGKOU,
    title="WHU-Hi-HongHu",
    shape=(940, 475, 270),
    cube=PlacedFile("WHU_Hi_HongHu.mat", "WHU_Hi_HongHu"),
    ground_truth=PlacedFile("WHU_Hi_HongHu_gt.mat", "WHU_Hi_HongHu_gt"),
    class_names=_numbered(
        "Red roof, Road, Bare soil, Cotton, Cotton firewood, Rape, Chinese cabbage, Pakchoi, Cabbage, Tuber mustard, "
        "Brassica parachinensis, Brassica chinensis, Small Brassica chinensis, Lactuca sativa, Celtuce, "
        "Film covered lettuce, Romaine lettuce, Carrot, White radish, Garlic sprout, Broad bean, Tree"
    ),
    counts=_counted(
        *(14041, 3512, 21821, 163285, 6218, 44557, 24103, 4054, 10819, 12394, 11015),
        *(8954, 22507, 7356, 1002, 7262, 3010, 3217, 8712, 3486, 1328, 4040),
    ),
)

CATALOGUE: dict[str, CatalogueEntry] = {
    "indian_pines": replace(_INDIAN_PINES, title="Indian Pines, 9 classes", classes=(2, 3, 5, 6, 8, 10, 11, 12, 14)),
    "indian_pines_16": _INDIAN_PINES,
    "pavia_university": _PAVIA_UNIVERSITY,
    "salinas": _SALINAS,
    "salinas_a": _SALINAS_A,
    "ksc": _KSC,
    "botswana": _BOTSWANA,
    "pavia_centre": _PAVIA_CENTRE,
    "houston_2013": _HOUSTON_2013,
    "houston_2018": _HOUSTON_2018,
    "chikusei": _CHIKUSEI,
    "whu_hi_longkou": _WHU_HI_LONGKOU,
    "whu_hi_hanchuan": _WHU_HI_HANCHUAN,
    "whu_hi_honghu": _WHU_HI_HONGHU,
}
