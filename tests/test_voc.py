from fcn8s_ms import voc


def test_palette_is_vocs():
    palette = voc.palette()
    # Colours as they stand in the masks of VOC 2012.
    assert palette.shape == (256, 3)
    assert palette[0].tolist() == [0, 0, 0]
    assert palette[1].tolist() == [128, 0, 0]
    assert palette[5].tolist() == [128, 0, 128]
    assert palette[15].tolist() == [192, 128, 128]
    assert palette[20].tolist() == [0, 64, 128]
    assert palette[255].tolist() == [224, 224, 192]


def test_classes():
    assert voc.NUM_CLASSES == 21
    assert voc.CLASSES[0] == "background"
    assert voc.CLASSES[15] == "person"


def test_names_of_classes_that_come_without():
    assert voc.class_names(21) == voc.CLASSES
    assert voc.class_names(3) == ("class 0", "class 1", "class 2")
