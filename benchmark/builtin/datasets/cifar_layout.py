"""What distinguishes CIFAR-10 from CIFAR-100 on disk: names, checksums, record layout. No torch."""

from __future__ import annotations

from dataclasses import dataclass

_TEN = "airplane automobile bird cat deer dog frog horse ship truck"
_HUNDRED = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""


@dataclass(frozen=True)
class CifarLayout:
    """Names and official checksums of one of the two data sets."""

    name: str
    class_names: tuple[str, ...]
    torchvision_class: str
    python_folder: str
    python_archive: str
    python_md5: str
    python_files: tuple[tuple[str, str], ...]
    """Name and official MD5 of each file in the archive that is read."""
    binary_folder: str
    binary_archive: str
    binary_md5: str
    binary_train: tuple[str, ...]
    binary_test: tuple[str, ...]
    record_labels: int
    """Label bytes before the pixels of a binary record; the last is the class."""
    label_column: str
    """Name of the class column in parquet shards."""


CIFAR10 = CifarLayout(
    name="cifar10",
    class_names=tuple(_TEN.split()),
    torchvision_class="CIFAR10",
    python_folder="cifar-10-batches-py",
    python_archive="cifar-10-python.tar.gz",
    python_md5="c58f30108f718f92721af3b95e74349a",
    python_files=(
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
        ("test_batch", "40351d587109b95175f43aff81a1287e"),
        ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
    ),
    binary_folder="cifar-10-batches-bin",
    binary_archive="cifar-10-binary.tar.gz",
    binary_md5="c32a1d4ab5d03f1284b67883e8d87530",
    binary_train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    binary_test=("test_batch.bin",),
    record_labels=1,
    label_column="label",
)

CIFAR100 = CifarLayout(
    name="cifar100",
    class_names=tuple(_HUNDRED.split()),
    torchvision_class="CIFAR100",
    python_folder="cifar-100-python",
    python_archive="cifar-100-python.tar.gz",
    python_md5="eb9058c3a382ffc7106e4002c42a8d85",
    python_files=(
        ("train", "16019d7e3df5f24257cddd939b257f8d"),
        ("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
        ("meta", "7973b15100ade9c7d40fb424638fde48"),
    ),
    binary_folder="cifar-100-binary",
    binary_archive="cifar-100-binary.tar.gz",
    binary_md5="03b5dce01913d631647c71ecec9e9cb8",
    binary_train=("train.bin",),
    binary_test=("test.bin",),
    record_labels=2,
    label_column="fine_label",
)

LAYOUTS = (CIFAR10, CIFAR100)
