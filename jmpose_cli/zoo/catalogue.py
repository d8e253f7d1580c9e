"""The models that jmpose knows by name and does not ship, as data.

Everything here was read in the place that `source` names. Revisions and checksums stand where they are known for a
fact; None means that they are not, and that a download is checked against what the Hub says of it.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["pose", "detector", "reid"]
KIND_NAMES: dict[Kind, str] = {"pose": "pose model", "detector": "person detector", "reid": "network of appearance"}


@dataclass(frozen=True)
class Shipped:
    """The weights lie in this package."""


@dataclass(frozen=True)
class HubRepo:
    """A repository of the Hugging Face Hub, in the form of transformers.

    Attributes:
        repo: `owner/name`.
        revision: Commit; None takes the newest.
        sha256: Of its `model.safetensors`, 64 hex digits.
    """

    repo: str
    revision: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class WebFile:
    """One file on the web.

    Attributes:
        url: Its address; the last part is the file's name.
        sha256: 64 hex digits, or the first 8, which its makers put into the name.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class ByHand:
    """A file that only a person with a browser can fetch.

    Attributes:
        name: Name of the file.
        page: Where it is to be had.
    """

    name: str
    page: str


@dataclass(frozen=True)
class Entry:
    """A model.

    Attributes:
        name: What users call it.
        kind: `pose`, `detector` or `reid`, which tells people by their looks.
        place: Where its weights come from.
        input_hw: Height and width of its input, pixels; a detector's longer side is the larger one.
        keypoint_set: Joints of a pose model; empty for others.
        window_frames: Frames of a window of a pose model; 0 for others.
        code_licence: Of the code that runs it.
        weights_licence: Of the weights, as their makers say.
        data: What it was trained on, with the licences of that.
        source: Where all this is said.
        parameters_m: Millions of parameters of the weights; None where they are counted in the file itself.
        gmacs: Thousand millions of multiply-adds for one picture of `input_hw`; None as before.
        published: Figures of its makers, with the protocol; empty when none was found.
    """

    name: str
    kind: Kind
    place: Shipped | HubRepo | WebFile | ByHand
    input_hw: tuple[int, int]
    keypoint_set: str
    window_frames: int
    code_licence: str
    weights_licence: str
    data: str
    source: str
    parameters_m: float | None = None
    gmacs: float | None = None
    published: str = ""

    @property
    def is_trained_in_time(self) -> bool:
        """Whether the temporal part has learnt something; else results are those of single frames."""
        return self.kind == "pose" and isinstance(self.place, Shipped)


_AGPL, _APACHE = "AGPL-3.0", "Apache-2.0"
_COCO = "COCO 2017 (annotations CC BY 4.0, pictures Flickr per image)"
_COCO_OBJECTS = "COCO 2017, 80 classes (annotations CC BY 4.0, pictures Flickr per image)"
_OBJECTS365 = f"Objects365 (academic use), then {_COCO_OBJECTS}"
_HUB = "https://huggingface.co/"


def _vitpose(
    name: str,
    repo: HubRepo,
    parameters_m: float,
    gmacs: float,
    data: str,
    published: str = "",
) -> Entry:
    return Entry(
        *(name, "pose", repo, (256, 192), "coco17", 5),
        *(_APACHE, f"{_APACHE} (model card)", data),
        source=f"{_HUB}{repo.repo}; figures: https://github.com/ViTAE-Transformer/ViTPose",
        parameters_m=parameters_m,
        gmacs=gmacs,
        published=published,
    )


_DETECTED = "boxes of a detector with 56.4 person AP"
_PLUS_DATA = "COCO, AI Challenger, MPII, AP-10K, APT-36K, COCO-WholeBody (arXiv 2212.04246); expert 0 is COCO's"

_VITPOSE = (
    _vitpose(
        "vitpose-b",
        HubRepo(
            "usyd-community/vitpose-base",
            "95be2991424e646950d656bb7fc15ec9be119700",
            "cd9a4e6cefc33c51ddcc32dd509fc4114b5845256463a69a10ea2dfde402b2f8",
        ),
        *(90.0, 18.5, _COCO, f"COCO val AP 75.8, AR 81.1 ({_DETECTED})"),
    ),
    _vitpose(
        "vitpose-b-simple",
        HubRepo(
            "usyd-community/vitpose-base-simple",
            "a93ac0c67e0b7e2c55287d21d4c460c8f3c54d45",
            "85375373893ddd3641f3912821073e53f5435f9e966e1dca59d004454bfe4fdf",
        ),
        *(85.9, 17.5, _COCO, f"COCO val AP 75.5, AR 80.9 ({_DETECTED})"),
    ),
    _vitpose(
        "vitpose-b-multi",
        HubRepo("usyd-community/vitpose-base-coco-aic-mpii", "1c97abb299207947767d028bf349c543ae06a49f"),
        *(90.0, 18.5, f"{_COCO}; AI Challenger and MPII (research use)"),
        f"COCO val AP 77.1, AR 82.2 ({_DETECTED})",
    ),
    _vitpose(
        "vitpose-plus-s",
        HubRepo("usyd-community/vitpose-plus-small", "0c30b6534bb621af0162b481176742577264e36e"),
        *(33.1, 7.3, _PLUS_DATA),
    ),
    _vitpose(
        "vitpose-plus-b",
        HubRepo(
            "usyd-community/vitpose-plus-base",
            "92be54d7a29e42fad47b6e2ca01dd9e685a61e0d",
            "640225e4a9dd544239f1da0ae36af865a6e76e21e5f33a12656aa7b77fa5a5fa",
        ),
        *(125.4, 25.3, _PLUS_DATA),
    ),
    _vitpose(
        "vitpose-plus-l",
        HubRepo("usyd-community/vitpose-plus-large", "e211df377e49c89dba508ab3e83ddef13c0832b4"),
        *(434.4, 85.7, _PLUS_DATA),
    ),
    _vitpose(
        "vitpose-plus-h",
        HubRepo(
            "usyd-community/vitpose-plus-huge",
            "9f36d7aec1800d23e97f10c2e74393aee92aa53f",
            "0ecb49f1ab0b18cc2f18446b8100442cec88bd99dd53779ad5a7f8c71aa08506",
        ),
        *(899.4, 176.2, _PLUS_DATA),
    ),
)

# Parameters (millions) and multiply-adds (thousand millions) by width and input, from the HRNet authors' table.
_HRNET_SIZES = {
    (32, 256): (28.5, 7.1),
    (32, 384): (28.5, 16.0),
    (48, 256): (63.6, 14.6),
    (48, 384): (63.6, 32.9),
}
_MMPOSE = "https://download.openmmlab.com/mmpose/"
_MMPOSE_CONFIGS = "https://github.com/open-mmlab/mmpose/tree/main/configs/body_2d_keypoint/topdown_heatmap/"
_HRNET_PAGE = "https://github.com/leoxiaobin/deep-high-resolution-net.pytorch"
_HRNET_DRIVE = "https://drive.google.com/drive/folders/1hOTihvbyIxsm5ygDpbUuJ7O_tzv4oXjC"


def _hrnet(width: int, height: int, trained_on: str, place: WebFile | ByHand, published: str) -> Entry:
    """HRNet by MMPose (a file on the web) or by its authors (a file to be fetched by hand)."""
    parameters_m, gmacs = _HRNET_SIZES[width, height]
    joints = {"coco": "coco17", "posetrack18": "posetrack18"}[trained_on]
    name = f"hrnet-w{width}-{trained_on}-{height}x{height * 3 // 4}"
    by_authors = isinstance(place, ByHand)
    return Entry(
        *(f"{name}-official" if by_authors else name, "pose", place, (height, height * 3 // 4), joints, 5),
        "MIT" if by_authors else _APACHE,
        "not stated apart from the code's (MIT)" if by_authors else "not stated apart from MMPose's (Apache-2.0)",
        _COCO if trained_on == "coco" else f"{_COCO}; PoseTrack18 (research use)",
        source=_HRNET_PAGE if by_authors else _MMPOSE_CONFIGS + trained_on,
        parameters_m=parameters_m,
        gmacs=gmacs,
        published=published,
    )


def _mmpose_coco(width: int, height: int, batches: str, digest: str, date: str, published: str) -> Entry:
    file = f"td-hm_hrnet-w{width}_{batches}-210e_coco-{height}x{height * 3 // 4}-{digest}_{date}.pth"
    url = f"{_MMPOSE}v1/body_2d_keypoint/topdown_heatmap/coco/{file}"
    return _hrnet(width, height, "coco", WebFile(url, digest), f"COCO val {published} ({_DETECTED})")


def _mmpose_posetrack(width: int, height: int, digest: str, date: str, ap: str) -> Entry:
    url = f"{_MMPOSE}top_down/hrnet/hrnet_w{width}_posetrack18_{height}x{height * 3 // 4}-{digest}_{date}.pth"
    return _hrnet(
        *(width, height, "posetrack18", WebFile(url, digest)),
        f"PoseTrack18 val total AP {ap} (ground-truth boxes)",
    )


def _official(width: int, height: int, published: str) -> Entry:
    file = f"pose_hrnet_w{width}_{height}x{height * 3 // 4}.pth"
    return _hrnet(width, height, "coco", ByHand(file, _HRNET_DRIVE), f"COCO val {published} ({_DETECTED}, flip test)")


_HRNET = (
    _mmpose_coco(32, 256, "8xb64", "81c58e40", "20220909", "AP 74.9, AR 80.4"),
    _mmpose_coco(32, 384, "8xb64", "ca5956af", "20220909", "AP 76.1, AR 81.1"),
    _mmpose_coco(48, 256, "8xb32", "0e67c616", "20220913", "AP 75.6, AR 80.9"),
    _mmpose_coco(48, 384, "8xb32", "c161b7de", "20220915", "AP 76.7, AR 81.7"),
    _mmpose_posetrack(32, 256, "1ee951c4", "20201028", "83.4"),
    _mmpose_posetrack(32, 384, "806f00a3", "20211130", "83.7"),
    _mmpose_posetrack(48, 256, "b5d9b3f1", "20211130", "84.6"),
    _mmpose_posetrack(48, 384, "5fd6d3ff", "20211130", "84.6"),
    _official(32, 256, "AP 74.4, AR 79.8"),
    _official(32, 384, "AP 75.8, AR 80.9"),
    _official(48, 256, "AP 75.1, AR 80.4"),
    _official(48, 384, "AP 76.3, AR 81.2"),
)


def _detector(
    name: str, place: HubRepo | WebFile, parameters_m: float, gflops: float | None, ap: float | None, **said: str
) -> Entry:
    """A detector trained on COCO; `gflops` as its makers count, two a multiply-add."""
    return Entry(
        *(name, "detector", place, (640, 640), "", 0, said["licence"], said["licence"]),
        said.get("data", _COCO_OBJECTS),
        source=said["source"],
        parameters_m=parameters_m,
        gmacs=None if gflops is None else round(gflops / 2, 1),
        published="" if ap is None else f"COCO val box AP {ap}, all 80 classes",
    )


def _rtdetr(name: str, repo: HubRepo, parameters_m: float, gflops: float | None, ap: float) -> Entry:
    source = f"{_HUB}{repo.repo}; figures: https://github.com/lyuwenyu/RT-DETR"
    return _detector(name, repo, parameters_m, gflops, ap, licence=_APACHE, source=source)


def _dfine(
    name: str, repo: HubRepo, parameters_m: float, gflops: float | None, ap: float | None, data: str = _COCO_OBJECTS
) -> Entry:
    source = f"{_HUB}{repo.repo}; figures: https://github.com/Peterande/D-FINE"
    return _detector(name, repo, parameters_m, gflops, ap, licence=_APACHE, source=source, data=data)


_TRANSFORMERS_DETECTORS = (
    _rtdetr("rtdetr-r18", HubRepo("PekingU/rtdetr_r18vd", "ac77a11ff0170a41b771c03264987f8ce2b0d753"), 20.2, 60, 46.5),
    _rtdetr("rtdetr-r50", HubRepo("PekingU/rtdetr_r50vd", "df939e661d8c52e80608d1ec566561aabd25a4e7"), 43.0, 136, 53.1),
    _rtdetr(
        "rtdetr-v2-r18",
        HubRepo(
            "PekingU/rtdetr_v2_r18vd",
            "5650961749fa93567c0d46fc7f43ea4f9e914107",
            "d18309d0d7ea57048138885c4c6ecfcb1e24506fc6153b94ad484f8ab62c7115",
        ),
        *(20.2, 60, 48.1),
    ),
    _rtdetr(
        "rtdetr-v2-r34", HubRepo("PekingU/rtdetr_v2_r34vd", "5d60d8fb5eb2a3ee5575bf200ecbce4e2cfa420c"), 31.5, 92, 49.9
    ),
    _rtdetr(
        "rtdetr-v2-r50",
        HubRepo(
            "PekingU/rtdetr_v2_r50vd",
            "282494075698cab9faa1096ae26856890030c817",
            "3331d977dbc0c7a6cdae9ec0b0b6ad156eb6720d65b7cf0fa710dcc541d88d71",
        ),
        *(43.0, 136, 53.4),
    ),
    _rtdetr("rtdetr-v2-r101", HubRepo("PekingU/rtdetr_v2_r101vd"), 76.8, 259, 54.3),
    _dfine(
        "dfine-n",
        HubRepo(
            "ustc-community/dfine-nano-coco",
            "066438d3d8f0da137a37b38fdf3368fd4afceced",
            "19e06bdc873da819920a8d373b879721a5b9759d822f8213220bb09abbdab58b",
        ),
        *(3.8, None, None),
    ),
    _dfine(
        "dfine-s",
        HubRepo(
            "ustc-community/dfine-small-coco",
            "f79e65b5fbb33ceb9d3ebba042955d7410c608f8",
            "a144baff3a27bfd538fe37b11fa8d4fca5744b8c054b5301e7c699a1379cd18f",
        ),
        *(10, 25, 48.5),
    ),
    _dfine(
        "dfine-m",
        HubRepo("ustc-community/dfine-medium-coco", "4ab9f5e466432f4fcf9a9a023da6aa5ecc9c9829"),
        *(19, 57, 52.3),
    ),
    _dfine(
        "dfine-l", HubRepo("ustc-community/dfine-large-coco", "aa8f8211545e4cff5adf52ea512f9ac74a9824ec"), 31, 91, 54.0
    ),
    _dfine("dfine-x", HubRepo("ustc-community/dfine-xlarge-coco"), 62, 202, 55.8),
    _dfine(
        "dfine-l-obj365",
        HubRepo("ustc-community/dfine-large-obj2coco-e25", "c89de47153e338c07cddc81fc21a776b97cbf75e"),
        *(31, 91, 57.3, _OBJECTS365),
    ),
)

# Parameters (millions), FLOPs (thousand millions), COCO AP and SHA-256 of the files of ultralytics' release v8.4.0.
_YOLO = {
    "yolo26n": (2.4, 5.4, 40.9, "9b09cc8bf347f0fc8a5f7657480587f25db09b34bf33b0652110fb03a8ad4fef"),
    "yolo26s": (9.5, 20.7, 48.6, "646f8bc3fe0a656803d95c294f7852321748cb29d13466a1af8862e2db384a1b"),
    "yolo26m": (20.4, 68.2, 53.1, "401cea9ab23ad19246ff7744859816bc599f350e93c9dd30367b6f0a0745d0b7"),
    "yolo26l": (24.8, 86.4, 55.0, "9fe3c544f2b19bebad7ea41e76d7ad3d88b7c2f10d11d24430c5311f6b32db26"),
    "yolo26x": (55.7, 193.9, 57.5, "9fdd44a31c504547ffb81d2c6d9e6dac3493c8eaa8b0398d3f43bae6c7003e92"),
    "yolo11n": (2.6, 6.5, 39.5, "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1"),
    "yolo11s": (9.4, 21.5, 47.0, "85a76fe86dd8afe384648546b56a7a78580c7cb7b404fc595f97969322d502d5"),
    "yolo11m": (20.1, 68.0, 51.5, "d5ffc1a674953a08e11a8d21e022781b1b23a19b730afc309290bd9fb5305b95"),
    "yolo11l": (25.3, 86.9, 53.4, "9ebd0e09d59811db4b1d61e2bc6730649608b1ac47f8dd01e2da6bca7c20023f"),
    "yolo11x": (56.9, 194.9, 54.7, "7bc158aa95c0ebfdd87f70f01653c1131b93e92522dbe15c228bcd742e773a24"),
    "yolo12n": (2.6, 6.5, 40.6, "419ff3dca37d69bacc93a50fa0c186a1c6f9fe62fae0f108b0872829689e9ca6"),
    "yolo12s": (9.3, 21.4, 48.0, "e915c2c4286e3f6f8610ef106fa3f94a7b8c19b30eccede5887e22c33ef75f58"),
    "yolo12m": (20.2, 67.5, 52.5, "4c6d179786eddf6134ee469ae2f4ce04cbe4e9d1a47d6b669d9cd6b9c6c513d8"),
    "yolo12l": (26.4, 88.9, 53.7, "0babd8dc8f775bb64bb052debdff3d8b9e9b57efa9d7bfa11c84bb82c3fec336"),
    "yolo12x": (59.1, 199.0, 55.2, "682ce8dadee004dbe964950f1bf3eda451671815a6ed62db80b398916b9b7c6f"),
    "yolov8n": (3.2, 8.7, 37.3, "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36"),
    "yolov8s": (11.2, 28.6, 44.9, "1f47a78bf100391c2a140b7ac73a1caae18c32779be7d310658112f7ac9aa78a"),
    "yolov8m": (25.9, 78.9, 50.2, "5d4a90cdc7a21786cc59cd19778e9eafff836df9e2da32524737c7ee6efe4fe5"),
    "yolov8l": (43.7, 165.2, 52.9, "64c9115303f6a25575f82200d1b22ec409fa6bd7d08d0313884fc20d919478cd"),
    "yolov8x": (68.2, 257.8, 53.9, "3df4ada6b4dad6d657868f2fdf7faecfb34dcfccf3a25c4b82079064718524c8"),
}
_YOLO_RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0/"


def _yolo(name: str) -> Entry:
    parameters_m, gflops, ap, sha256 = _YOLO[name]
    return _detector(
        *(name, WebFile(f"{_YOLO_RELEASE}{name}.pt", sha256), parameters_m, gflops, ap),
        licence=_AGPL,
        source="https://docs.ultralytics.com/models/",
    )


CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        *_VITPOSE,
        *_HRNET,
        *_TRANSFORMERS_DETECTORS,
        *(_yolo(name) for name in _YOLO),
    )
}
