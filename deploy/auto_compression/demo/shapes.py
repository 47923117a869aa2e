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
"""A small detection data set in COCO's layout, drawn from a seed.

Six kinds of shape lie at any angle on cluttered ground, partly hidden, among
look-alikes that carry no label. Nothing is downloaded, and an image depends on
(seed, split, index) alone, so a larger set begins with the smaller one.
"""

import argparse
import json
import os
import shutil
import tempfile
from typing import Dict, List, Optional, Tuple

import cv2
import numpy as np
from tqdm import tqdm

# Ids have a gap, as COCO's have: code that takes an id for an index fails here.
CATEGORIES = {
    1: 'circle',
    2: 'ring',
    3: 'square',
    4: 'triangle',
    6: 'star',
    7: 'cross',
}
SPLITS = {'train2017': 0, 'val2017': 1}
MIN_VISIBLE = 0.45  # an object hidden more than this is painted out again
SHIFT = 4  # fractional bits of the coordinates given to OpenCV


def _regular(corners: int, inner: float = 1.0) -> np.ndarray:
    """Corners (n, 2) of a regular polygon in the unit circle; `inner` < 1
    makes every second corner lie at that radius (a star)."""
    n = corners * (2 if inner != 1.0 else 1)
    angle = np.arange(n) * 2 * np.pi / n
    radius = np.where(np.arange(n) % 2, inner, 1.0) if inner != 1.0 else 1.0
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.reshape(
        radius, (-1, 1))


def _cross(arm: float) -> np.ndarray:
    a = arm
    return np.array([(a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1),
                     (-a, a), (-1, a), (-1, -a), (-a, -a), (-a, -1)])


def _outline(name: str, rng: np.random.Generator) -> np.ndarray:
    """Corners (n, 2) of a shape, centred, about the unit circle in size."""
    if name in ('circle', 'ring'):
        return _regular(48)
    if name == 'square':
        return _regular(4)
    if name == 'triangle':
        return _regular(3)
    if name == 'star':
        return _regular(5, rng.uniform(0.38, 0.5))
    if name == 'cross':
        return _cross(rng.uniform(0.22, 0.36))
    if name == 'ellipse':
        return _regular(48) * (1.0, rng.uniform(0.35, 0.6))
    if name == 'bar':
        return _regular(4) @ np.array([[0.7, 0.7], [-0.7, 0.7]
                                       ]) * (1.0, rng.uniform(0.25, 0.55))
    if name == 'half':
        angle = np.linspace(0, np.pi, 25)
        return np.stack([np.cos(angle), np.sin(angle) - 0.4], axis=1)
    if name == 'hexagon':
        return _regular(6)
    raise KeyError(name)


DISTRACTORS = ('ellipse', 'bar', 'half', 'hexagon')


def _mask(name: str, rng: np.random.Generator, centre: np.ndarray,
          radius: float, height: int, width: int) -> np.ndarray:
    """Coverage (height, width) uint8, 0 to 255, antialiased."""
    corners = _outline(name, rng)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)],
                     [np.sin(angle), np.cos(angle)]])
    stretch = np.array([1.0, rng.uniform(0.85, 1.0)])
    corners = (corners * stretch) @ turn.T * radius
    mask = np.zeros((height, width), np.uint8)
    scale = 1 << SHIFT
    cv2.fillPoly(mask, [np.round((corners + centre) * scale).astype(np.int32)],
                 255, cv2.LINE_AA, SHIFT)
    if name == 'ring':
        hole = np.zeros_like(mask)
        inner = corners * rng.uniform(0.5, 0.7)
        cv2.fillPoly(hole,
                     [np.round((inner + centre) * scale).astype(np.int32)], 255,
                     cv2.LINE_AA, SHIFT)
        mask = np.minimum(mask, 255 - hole)
    return mask


def _ground(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Float image (height, width, 3): smooth noise of several scales."""
    image = np.full((height, width, 3), rng.uniform(40, 215, 3), np.float32)
    for cells in (2, 5, 12, 40):
        noise = rng.normal(0, rng.uniform(4, 34 / np.sqrt(cells) + 8),
                           (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (width, height),
                            interpolation=cv2.INTER_CUBIC)
    return image


def _paint(image: np.ndarray, mask: np.ndarray,
           rng: np.random.Generator) -> None:
    """Fill the mask in place: plain, shaded or striped, at any contrast."""
    x, y, width, height = cv2.boundingRect(mask)
    image = image[y:y + height, x:x + width]
    mask = mask[y:y + height, x:x + width]
    local = image[mask > 127].mean(axis=0)
    for _ in range(20):
        colour = rng.uniform(0, 255, 3)
        if np.abs(colour - local).max() > rng.uniform(50, 130):
            break
    fill = np.broadcast_to(colour, image.shape).astype(np.float32)
    style = rng.integers(0, 4)
    angle = rng.uniform(0, np.pi)
    ys, xs = np.ogrid[0:height, 0:width]
    along = (xs - width / 2) * np.cos(angle) + (ys - height / 2) * np.sin(angle)
    if style == 1:
        fill = fill + (along * rng.uniform(0.2, 0.8))[..., None]
    elif style == 2:
        stripes = np.sin(along * 2 * np.pi / rng.uniform(5, 16)) > 0
        fill = fill + (stripes * rng.uniform(25, 70))[..., None]
    alpha = (mask.astype(np.float32) / 255 * rng.uniform(0.85, 1.0))[..., None]
    image += alpha * (fill - image)


def _clutter(image: np.ndarray, rng: np.random.Generator) -> None:
    """Lines and letters without a label, in place."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(0, 7)):
        start, end = (tuple(int(v) for v in rng.uniform(0, (width, height)))
                      for _ in range(2))
        cv2.line(image, start, end,
                 rng.uniform(0, 255, 3).tolist(), int(rng.integers(1, 4)),
                 cv2.LINE_AA)
    for _ in range(rng.integers(0, 3)):
        text = ''.join(rng.choice(list('OXABD08+*'), 3))
        at = tuple(int(v) for v in rng.uniform(0, (width, height)))
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX,
                    rng.uniform(0.5, 1.4),
                    rng.uniform(0, 255, 3).tolist(), 2, cv2.LINE_AA)


def draw_image(seed: int,
               split: str,
               index: int,
               side: int = 320,
               density: float = 1.0) -> Tuple[np.ndarray, List[Dict]]:
    """Draw one image.

    Args:
        seed: of the data set.
        split: a key of SPLITS.
        index: of the image in its split.
        side: mean side length in pixels. Objects keep their size (24 to 150
            pixels), so smaller images hold fewer of them.
        density: 1 is about 5 objects in 320 x 320 pixels.

    Returns:
        the image, uint8 BGR (height, width, 3), and its objects: dicts with
        `category_id`, `bbox` (x, y, width, height in pixels) and `area`
        (pixels, hidden parts included), as in COCO.
    """
    rng = np.random.default_rng([seed, SPLITS[split], index])
    height = int(side * rng.uniform(0.75, 1.1))
    width = int(side * rng.uniform(0.9, 1.3))
    image = _ground(rng, height, width)
    _clutter(image, rng)

    full = max(1.0, 9.0 * density * (side / 320)**2)
    count = 0 if rng.random() < 0.02 else 1 + rng.binomial(
        int(round(full * 2)), 0.3)
    largest = min(75.0, 0.42 * min(height, width))
    objects, masks = [], []
    for _ in range(count + rng.binomial(int(round(full)), 0.2)):
        radius = np.exp(rng.uniform(np.log(12), np.log(largest)))
        centre = rng.uniform(0.75 * radius,
                             np.array([width, height]) - 0.75 * radius)
        labelled = len(objects) < count
        category = int(rng.choice(list(CATEGORIES))) if labelled else 0
        name = CATEGORIES[category] if labelled else str(
            rng.choice(DISTRACTORS))
        mask = _mask(name, rng, centre, radius, height, width)
        solid = mask > 127
        if not solid.any() or any(
            (old & solid).sum() > (1 - MIN_VISIBLE) * old.sum()
                for old in masks):
            count -= labelled
            continue
        _paint(image, mask, rng)
        if not labelled:
            continue
        for old in masks:
            old &= ~solid
        masks.append(solid.copy())
        ys, xs = np.nonzero(solid)
        box = [
            float(xs.min()),
            float(ys.min()),
            float(xs.max() - xs.min() + 1),
            float(ys.max() - ys.min() + 1)
        ]
        objects.append({
            'category_id': category,
            'bbox': box,
            'area': float(solid.sum()),
            'iscrowd': 0,
        })

    blur = rng.uniform(0, 1.1)
    if blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    image += rng.uniform(1, 10) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 255).astype(np.uint8), objects


def write_split(root: str,
                split: str,
                count: int,
                seed: int,
                side: int = 320,
                density: float = 1.0) -> str:
    """Write `count` images and their annotation file below `root`.

    Returns:
        path of the annotation file, written last and renamed into place: if
        it exists, the split is whole.
    """
    image_dir = os.path.join(root, split)
    os.makedirs(image_dir, exist_ok=True)
    os.makedirs(os.path.join(root, 'annotations'), exist_ok=True)
    images, annotations = [], []
    for index in tqdm(range(count), desc='draw ' + split, unit='image'):
        image, objects = draw_image(seed, split, index, side, density)
        name = '%06d.jpg' % index
        quality = 70 + (index * 7) % 26
        if not cv2.imwrite(os.path.join(image_dir, name), image,
                           [cv2.IMWRITE_JPEG_QUALITY, quality]):
            raise OSError('cannot write %s' % os.path.join(image_dir, name))
        images.append({
            'id': index + 1,
            'file_name': name,
            'height': image.shape[0],
            'width': image.shape[1],
        })
        for item in objects:
            annotations.append(
                dict(item, id=len(annotations) + 1, image_id=index + 1))
    path = os.path.join(root, 'annotations', 'instances_%s.json' % split)
    with open(path + '.tmp', 'w') as f:
        json.dump(
            {
                'info': {
                    'description': 'shapes, seed %d, side %d' % (seed, side)
                },
                'images':
                images,
                'annotations':
                annotations,
                'categories': [{
                    'id': i,
                    'name': name
                } for i, name in CATEGORIES.items()],
            }, f)
    os.replace(path + '.tmp', path)
    return path


def generate(root: str,
             train: int = 240,
             val: int = 200,
             seed: int = 7,
             side: int = 320,
             density: float = 1.0) -> None:
    """Write the data set, or keep it if the same one is there already.

    It is drawn in a temporary directory beside `root` and renamed, so that a
    run that is stopped leaves nothing half-written.

    Raises:
        FileExistsError: `root` holds something that is not this data set.
    """
    settings = {
        'train': train,
        'val': val,
        'seed': seed,
        'side': side,
        'density': density
    }
    stamp = os.path.join(root, 'settings.json')
    if os.path.isdir(root) and os.listdir(root):
        if not os.path.exists(stamp):
            raise FileExistsError(
                '%s is not empty and no data set of this generator: name '
                'another --save_dir or remove it' % root)
        with open(stamp) as f:
            if json.load(f) == settings:
                return
        shutil.rmtree(root)
    parent = os.path.dirname(os.path.abspath(root))
    os.makedirs(parent, exist_ok=True)
    work = tempfile.mkdtemp(prefix='.shapes_', dir=parent)
    try:
        os.chmod(work, 0o755)
        write_split(work, 'train2017', train, seed, side, density)
        write_split(work, 'val2017', val, seed, side, density)
        with open(os.path.join(work, 'settings.json'), 'w') as f:
            json.dump(settings, f)
        if os.path.isdir(root):
            os.rmdir(root)
        os.rename(work, root)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def main(argv: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--save_dir', default='dataset/shapes')
    parser.add_argument('--train', type=int, default=240, help='images')
    parser.add_argument('--val', type=int, default=200, help='images')
    parser.add_argument('--seed', type=int, default=7)
    parser.add_argument('--side',
                        type=int,
                        default=320,
                        help='mean side in pixels')
    args = parser.parse_args(argv)
    try:
        generate(args.save_dir, args.train, args.val, args.seed, args.side)
    except OSError as e:
        parser.error(str(e))
    print('%s: %d training and %d validation images of %d classes' %
          (args.save_dir, args.train, args.val, len(CATEGORIES)))


if __name__ == '__main__':
    main()
