"""Which camera took a photo: EXIF, calibration files, sensor sizes, the image itself; and how sure each of them is."""
