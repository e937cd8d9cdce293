#!/usr/bin/env python3
"""Makes the goldens of this folder. See README.md. `make.py [models] [stages] [trajectories] [pictures] [loras] [spellings] [patches] [peft_kinds] [builtin] [ops] [sdxl] [refiner] [edm] [image_to_image] [image_to_image_xl] [pictures_in] [inpaint] [pix2pix] [control]`"""

import importlib
import os
import sys
import time

# Threads that spin while they wait are slow on a machine that does something else too.
os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}

import diffusers
import torch
import transformers

PARTS = [
    "models", "stages", "trajectories", "pictures", "loras", "spellings", "patches", "peft_kinds", "builtin", "ops", "layouts",
    "single_files", "sdxl", "refiner", "edm", "image_to_image", "image_to_image_xl", "pictures_in", "inpaint",
    "pix2pix", "control",
]


def main():
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    chosen = sys.argv[1:] or PARTS
    for part in chosen:
        if part not in PARTS:
            sys.exit(f"{part} is not one of {', '.join(PARTS)}")
    for part in chosen:
        start = time.time()
        importlib.import_module(part).main()
        print(f"{part}: {time.time() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
