"""Random images that look real: classes of strokes, shifted, partly hidden, among strokes of others and noise; grey levels of
a byte, most of them 0. Hard enough that a net still has most of its loss after 20 batches."""
import numpy

CLASSES, BLOCK = 10, 4


def strokes(draw, count, shape, density):
    """[count, channels, height, width] of blocks that are 1 with this density."""
    channels, height, width = shape
    coarse = draw.random((count, channels, height // BLOCK, width // BLOCK)) < density
    return numpy.kron(coarse, numpy.ones((1, 1, BLOCK, BLOCK)))


def smooth(images):
    for axis in (2, 3):
        images = (numpy.roll(images, 1, axis) + images + numpy.roll(images, -1, axis)) / 3
    return images


def images(seed, count, shape, mean=0.1307, deviation=0.3081):
    """Images [count, channels, height, width] as an encoder sees them, and their labels."""
    draw = numpy.random.default_rng(seed)
    classes = smooth(strokes(draw, CLASSES, shape, 0.3))
    labels = draw.integers(0, CLASSES, count)
    visible = strokes(draw, count, shape, 0.75)
    drawn = numpy.maximum(classes[labels] * visible, strokes(draw, count, shape, 0.15))
    for image, shift in zip(drawn, draw.integers(-2, 3, (count, 2))):
        image[:] = numpy.roll(image, tuple(shift), (1, 2))
    drawn = drawn * draw.uniform(0.6, 1, (count, 1, 1, 1)) + draw.normal(0, 0.1, drawn.shape)
    levels = numpy.round(numpy.where(drawn > 0.25, drawn.clip(0, 1), 0) * 255)
    return ((levels / 255 - mean) / deviation).astype(numpy.float32), labels


def scenes(seed, count, shape, mean=0.5, deviation=0.5):
    """The same on backgrounds of their own, with no two numbers alike: colour images, where nothing is constant. (A weight
    on a number that is the same in every row moves only what batch norm takes away again: its slope is rounding, and
    Adam makes steps of that.)"""
    draw = numpy.random.default_rng(seed)
    classes = smooth(strokes(draw, CLASSES, shape, 0.3))
    labels = draw.integers(0, CLASSES, count)
    grounds = smooth(smooth(strokes(draw, count, shape, 0.5) * draw.uniform(0, 1, (count, shape[0], 1, 1))))
    drawn = 0.5 * classes[labels] * strokes(draw, count, shape, 0.75) + 0.4 * grounds
    levels = numpy.round((drawn + 0.05 + draw.normal(0, 0.08, drawn.shape)).clip(0, 1) * 255)
    return ((levels / 255 - mean) / deviation).astype(numpy.float32), labels
