# Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""COCO or VOC images and PaddleDetection's preprocessing, from a reader file.

The transforms are ppdet's own, so that pixels are what the detector was trained
on; the annotation file is only asked which images there are.
"""

import collections
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
import yaml

from . import annotations, config, images, runtime, voc
from .errors import UserError, unknown

Batch = Dict[str, np.ndarray]

# Threads that read ahead where neither configuration nor reader file say; as
# PaddleDetection.
WORKERS = 2
# The data set that each metric evaluates on.
METRICS = {'COCO': 'COCODataSet', 'VOC': voc.DATA_SET}


@dataclass(frozen=True)
class ImageRecord:
    """One image of an annotation file; size in pixels."""
    id: int
    path: str
    height: int
    width: int


@dataclass(frozen=True)
class ImageSet:
    """The images of one annotation file, in the order of their ids.

    `category_ids[i]` is the category of the model's class i: PaddleDetection
    numbers classes in the order of the file's categories, not of their ids.
    `truth` is what VOC's metric measures against; None: the metric is COCO's,
    against the annotation file.
    """
    annotation_path: str
    records: List[ImageRecord]
    category_ids: List[int]
    class_names: List[str]
    truth: Optional[voc.Truth] = None

    @property
    def annotation_files(self) -> Tuple[str, ...]:
        """All that say what is annotated."""
        more = self.truth.files if self.truth else ()
        return (self.annotation_path, *more)

    @property
    def metric_fields(self) -> Dict[str, Any]:
        """The record's fields of what mAP means on these images."""
        if self.truth is None:
            return {'metric': 'COCO'}
        return dict(metric='VOC', **vars(self.truth.metric))

    def take(self, count: Optional[int]) -> 'ImageSet':
        """The first `count` images (all, if None)."""
        if count is None or count >= len(self.records):
            return self
        return replace(self, records=self.records[:count])

    def drawn(self, seed: int) -> List[ImageRecord]:
        """All images in a random order that the seed fixes."""
        order = np.random.default_rng(seed).permutation(len(self.records))
        return [self.records[i] for i in order]

    def only(self, ids: Iterable[int]) -> 'ImageSet':
        """The images of these ids."""
        ids = set(ids)
        return replace(self, records=[r for r in self.records if r.id in ids])


class BadImage(UserError):
    """An image that cannot be decoded."""

    def __init__(self, record: ImageRecord) -> None:
        super().__init__(
            'image %r cannot be decoded: broken or not an image; replace it, '
            'or leave it out with --skip_bad_images' % record.path)
        self.faults = {record.path: 'broken'}


@dataclass(frozen=True)
class PathKey:
    """A path of the data set, for messages: the key that named it, and the one
    to name another with."""
    named_by: str
    override: str

    def wrong(self, path: str, problem: str) -> UserError:
        """An error for a path that does not do."""
        return UserError(
            '%r %s (named by %s); name another with -o %s=%s' %
            (path, problem, self.named_by, self.override,
             'FILE' if self.override.endswith('anno_path') else 'DIR'))


_PATHS = ('dataset_dir', 'image_dir', 'anno_path')
_KEYS = {name: PathKey('Reader.' + name, 'Reader.' + name) for name in _PATHS}


def load_images(dataset_dir: str,
                image_dir: str,
                anno_path: str,
                *,
                bad: Optional[images.BadImages] = None,
                keys: Optional[Dict[str, PathKey]] = None,
                source: Optional[voc.Source] = None) -> ImageSet:
    """List the images of an annotation file.

    Args:
        dataset_dir: root that the other two are relative to.
        image_dir: directory of the images.
        anno_path: the annotation file.
        bad: what becomes of images that are missing or broken; None: refused.
        keys: which keys named the three paths, for messages.
        source: of a VOC data set, whose annotation file is a list of images;
            None: it is COCO's.

    Raises:
        UserError: a path leads nowhere, the annotation file is bad, an image
            is bad and not to be skipped, or none is left.
    """
    bad = bad or images.BadImages()
    keys = keys or _KEYS

    def wrong(name: str, path: str, problem: str) -> UserError:
        # The root is named if it is the cause.
        if not os.path.isdir(dataset_dir):
            return keys['dataset_dir'].wrong(dataset_dir, 'is no directory')
        return keys[name].wrong(path, problem)

    annotation_path = os.path.join(dataset_dir, anno_path)
    if not os.path.isfile(annotation_path):
        raise wrong('anno_path', annotation_path, 'is no annotation file')
    root = os.path.join(dataset_dir, image_dir or '')
    if not os.path.isdir(root):
        raise wrong('image_dir', root, 'is no directory of images')
    found = _coco_images(annotation_path, root) if source is None else \
        _voc_images(annotation_path, root, dataset_dir, source)
    records = found.records
    faults = images.check([r.path for r in records], images.structure_fault)
    if faults:
        mend = ''
        if 'missing' in faults.values():
            mend = ', name their directory with -o %s=DIR' % \
                keys['image_dir'].override
        bad.add(faults, len(records), repr(annotation_path), mend)
        records = [r for r in records if r.path not in faults]
        if not records:
            raise bad.none_left(len(faults))
    return replace(found, records=records)


def _coco_images(annotation_path: str, root: str) -> ImageSet:
    content = annotations.read(annotation_path)
    records = [
        ImageRecord(item['id'], os.path.join(root, item['file_name']),
                    item['height'], item['width'])
        for item in sorted(content['images'], key=lambda item: item['id'])
    ]
    categories = content['categories']
    return ImageSet(annotation_path, records, [c['id'] for c in categories],
                    [str(c.get('name', c['id'])) for c in categories])


def _voc_images(annotation_path: str, root: str, dataset_dir: str,
                source: voc.Source) -> ImageSet:
    """Images and classes are numbered from 1 in the order of the lists."""
    found = voc.read(annotation_path, root, dataset_dir, source)
    listed = list(enumerate(found.images, 1))
    return ImageSet(
        annotation_path,
        [ImageRecord(i, one.path, one.height, one.width) for i, one in listed],
        list(range(1,
                   len(found.names) + 1)), found.names,
        voc.Truth(source.metric, {
            i: one.objects
            for i, one in listed
        }, found.files))


class Pipeline:
    """ppdet's transforms for one image and for one batch.

    The stages are apart so that decode and preprocessing can be timed apart.
    """

    def __init__(self,
                 sample_transforms: Sequence[Dict[str, Any]],
                 batch_transforms: Sequence[Dict[str, Any]],
                 where: str = 'reader') -> None:
        """
        Args:
            sample_transforms: as in a reader file; the first is Decode.
            batch_transforms: likewise.
            where: the file they stand in, for messages.

        Raises:
            UserError: a transform ppdet does not have, or wrong arguments.
        """
        runtime.import_ppdet()
        from ppdet.data import transform
        self._where = where
        known = [
            n for n in dir(transform) if isinstance(getattr(transform, n), type)
        ]
        for name, value in (('sample_transforms', sample_transforms),
                            ('batch_transforms', batch_transforms)):
            if not isinstance(value, (list, tuple)):
                raise UserError("%s: %s must be a list of transforms, found "
                                '%r' % (where, name, value))

        def build(entry):
            if not isinstance(entry, dict) or len(entry) != 1:
                raise UserError("%s: a transform is one 'Name: {...}', found "
                                "%r" % (where, entry))
            (name, arguments), = entry.items()
            if name not in known:
                raise unknown('transform', name, known, where)
            try:
                return getattr(transform, name)(**(arguments or {}))
            except Exception as e:  # ppdet checks arguments in many ways
                raise UserError("%s: transform %s: %s" %
                                (where, name, e)) from None

        first = sample_transforms[0] if sample_transforms else None
        if not isinstance(first, dict) or list(first) != ['Decode']:
            raise UserError("%s: sample_transforms must begin with Decode" %
                            where)
        self._decode, *self._sample = [build(t) for t in sample_transforms]
        self._batch = [build(t) for t in batch_transforms]

    @property
    def transforms(self) -> List[Any]:
        """ppdet's transforms after Decode, in order, a batch's last."""
        return [*self._sample, *self._batch]

    def decode(self, record: ImageRecord) -> Dict[str, Any]:
        """Read one image: a sample with `image` (height, width, 3) RGB uint8.

        Raises:
            BadImage: the file cannot be read as an image.
        """
        sample = {
            'im_file': record.path,
            'im_id': np.array([record.id]),
            'h': record.height,
            'w': record.width,
        }
        try:
            return self._decode(sample)
        except Exception:  # ppdet lets OpenCV's own errors through
            raise BadImage(record) from None

    def decode_good(
        self, records: Sequence[ImageRecord], bad: images.BadImages
    ) -> Tuple[List[ImageRecord], List[Dict[str, Any]]]:
        """Read images, without those that are broken.

        Args:
            records: of the images.
            bad: what becomes of the broken ones.

        Returns:
            the records that are left, and a sample of each.

        Raises:
            BadImage: one is broken and not to be skipped.
        """
        left, samples = [], []
        for record in records:
            try:
                samples.append(self.decode(record))
                left.append(record)
            except BadImage as e:
                if not bad.skip:
                    raise
                bad.add(e.faults, len(records))
        return left, samples

    def decode_or_next(self, record: ImageRecord,
                       records: Sequence[ImageRecord],
                       bad: images.BadImages) -> Dict[str, Any]:
        """Read one image or, if it is broken, the next of `records` that is
        not. Which one depends on nothing but the files, so that a run which is
        gone on with sees what it would have seen.

        Raises:
            BadImage: it is broken and not to be skipped.
            UserError: all are broken.
        """
        _, samples = self.decode_good([record], bad)
        if samples:
            return samples[0]
        at = records.index(record)
        for other in chain(records[at + 1:], records[:at]):
            _, samples = self.decode_good([other], bad)
            if samples:
                return samples[0]
        raise bad.none_left(len(records))

    def preprocess(self, samples: Sequence[Dict[str, Any]]) -> Batch:
        """Decoded samples to one batch: `image` (N, 3, H, W) float32,
        `im_shape` (N, 2), `scale_factor` (N, 2), `im_id` (N, 1).

        Raises:
            UserError: the transforms leave images of different sizes.
        """
        done = []
        for sample in samples:
            for apply in self._sample:
                sample = apply(sample)
            done.append(sample)
        for apply in self._batch:
            done = apply(done)
        sizes = {np.shape(s['image']) for s in done}
        if len(sizes) > 1:
            raise UserError(
                '%s: images of one batch differ in size after its transforms '
                '(%s and %s); set the batch size to 1 '
                '(TrainConfig.batch_size, --batch_size), or let Resize make '
                'one size (keep_ratio: False)' %
                (self._where, *sorted(sizes)[:2]))
        keys = ('image', 'im_shape', 'scale_factor', 'im_id')
        return {
            k: np.stack([np.asarray(s[k]) for s in done])
            for k in keys if k in done[0]
        }

    def __call__(self, records: Sequence[ImageRecord]) -> Batch:
        """Decode and preprocess one batch."""
        return self.preprocess([self.decode(r) for r in records])


class _ReaderLoader(yaml.SafeLoader):
    """Reads `!COCODataSet {...}` as a mapping with its tag under 'type'."""


def _tagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node):
    if not isinstance(node, yaml.MappingNode):
        return {'type': suffix}
    return dict(loader.construct_mapping(node, deep=True), type=suffix)


_ReaderLoader.add_multi_constructor('!', _tagged)


@dataclass(frozen=True)
class Reader:
    """A reader file with its overrides applied. Image sets are read on call;
    `bad` is what became of their bad images, `workers` the threads that read
    ahead."""
    file: str
    workers: int
    pipeline: Pipeline
    bad: images.BadImages
    train: Callable[[], ImageSet]
    val: Callable[[], ImageSet]


def read_file(path: str) -> Dict[str, Any]:
    """The content of a reader file; a tag as `!COCODataSet` stands under 'type'
    in its mapping.

    Raises:
        UserError: see `config.read_mapping`.
    """
    return config.read_mapping(path, _ReaderLoader)


def open_reader(section: config.ReaderSection,
                skip_bad_images: bool = False) -> Reader:
    """Read a reader file (PaddleDetection's format) with the overrides of the
    configuration's Reader section.

    Args:
        section: of the configuration.
        skip_bad_images: leave images out that are missing or broken, instead of
            refusing the data set.

    Raises:
        UserError: see `config.read_mapping` and `Pipeline`; a metric other
            than COCO and VOC; a data set that is not of its kind.
    """
    path = section.file
    content = read_file(path)
    metric = content.get('metric', 'COCO')
    if not isinstance(metric, str) or metric not in METRICS:
        raise UserError("%s: metric '%s' is not supported, only %s" %
                        (path, metric, ' and '.join(METRICS)))
    how = voc.metric(content, path) if metric == 'VOC' else None
    reader = content.get('EvalReader')
    if not isinstance(reader, dict):
        raise UserError("%s: section EvalReader is missing" % path)
    pipeline = Pipeline(
        reader.get('sample_transforms') or [],
        reader.get('batch_transforms') or [], path)

    bad = images.BadImages(skip_bad_images)
    kind = METRICS[metric]
    other, = (item for item in METRICS.items() if item[0] != metric)

    def image_set(name, prefix):

        def read() -> ImageSet:
            data = content.get(name)
            if not isinstance(data, dict) or data.get('type') != kind:
                raise UserError(
                    "%s: section %s must be a !%s, as metric is %s; metric: "
                    '%s is for a !%s' % (path, name, kind, metric, *other))
            paths, keys = {}, {}
            for key in _PATHS:
                override = key if key == 'dataset_dir' else prefix + key
                value = getattr(section, override)
                named_by = 'Reader.' + override
                if not value:
                    value = data.get(key) or ''
                    named_by = '%s.%s in %r' % (name, key, path)
                if not isinstance(value, str):
                    raise UserError('%s is %r; it must be a path' %
                                    (named_by, value))
                paths[key] = value
                keys[key] = PathKey(named_by, 'Reader.' + override)
            paths['dataset_dir'] = paths['dataset_dir'] or '.'
            source = voc.source(data, how, '%s in %r' %
                                (name, path)) if how else None
            return load_images(**paths, bad=bad, keys=keys, source=source)

        return read

    # 0, in PaddleDetection's files: no process of its own.
    workers = section.worker_num or content.get('worker_num') or WORKERS
    if type(workers) is not int or not 0 < workers <= config.MAX_WORKERS:
        raise UserError(
            '%s: worker_num is %r; it must be a whole number from 1 '
            'to %d' % (path, workers, config.MAX_WORKERS))
    return Reader(path, workers, pipeline, bad,
                  image_set('TrainDataset', 'train_'),
                  image_set('EvalDataset', ''))


def chunks(records: Sequence[ImageRecord],
           size: int) -> Iterator[Sequence[ImageRecord]]:
    """Consecutive parts of `size` records; the last may be smaller."""
    for start in range(0, len(records), size):
        yield records[start:start + size]


def endless(
    records: Sequence[ImageRecord],
    size: int,
    seed: int,
    start: int = 0,
    part: Tuple[int, int] = (0, 1)
) -> Iterator[Sequence[ImageRecord]]:
    """Batches of `size` records for training, for ever.

    Each pass over the data is a new order that depends on (seed, pass) alone;
    `start` batches are left out at the beginning, so that a run which goes on
    sees what it would have seen. Of several processes, each takes one `part`
    (which, of how many): together they see what one would with batches of them
    all.
    """
    count = len(records)
    which, parts = part
    position = start * size * parts
    while True:
        batch = []
        while len(batch) < size * parts:
            epoch, index = divmod(position, count)
            if index == 0 or not batch:
                order = np.random.default_rng([seed, epoch]).permutation(count)
            batch.append(records[order[index]])
            position += 1
        yield batch[which * size:(which + 1) * size]


def prefetch(items: Iterable[Any],
             apply: Callable[[Any], Any],
             workers: int = 1,
             depth: int = 2) -> Iterator[Any]:
    """`map(apply, items)`, done ahead in threads: OpenCV and numpy let go of
    the GIL, and nothing needs to be copied between processes.

    Results come in the order of the items, whatever the number of workers. An
    exception is raised here, in the place of its result.

    Args:
        items: may be endless.
        apply: called in several threads at once, if there are several.
        workers: threads.
        depth: results that are held ready, beside those being made.
    """
    pending: 'Deque[Future[Any]]' = collections.deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            pending.append(pool.submit(apply, item))
            if len(pending) >= workers + depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def feed(batch: Batch, inputs: Sequence[str], mapping: Optional[Dict[str, str]],
         where: str) -> Batch:
    """The part of a batch that the model takes, under the model's names.

    Args:
        batch: from `Pipeline`.
        inputs: the model's input names.
        mapping: {reader's name: model's name}, None if they are the same.
        where: for the message.

    Raises:
        UserError: an input that the reader does not make.
    """
    names = {model: reader for reader, model in (mapping or {}).items()}
    result = {}
    for name in inputs:
        key = names.get(name, name)
        if key not in batch:
            raise UserError(
                "%s: the model's input '%s' is not among what the reader "
                "makes (%s); map it with Global.input_list: {reader's name: "
                "model's name}" % (where, name, ', '.join(sorted(batch))))
        result[name] = batch[key]
    return result
