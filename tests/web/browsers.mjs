// The browsers that the tests are run in, and which tests are not run in one of them.
//
// A driver is a way to `start` one of puppeteer's browsers, unless something is `missing`; the precision that suits its GPU
// (`dtype`) and the flags by which the command line computes as it does (`native`); and what puppeteer does not do in every
// browser alike: to `download`, to `choose` files and, where it can be had at all, `drop`, `crashGpu`, `heap` and `dark`.

import { chromium } from "./chromium.mjs";
import { firefox } from "./firefox.mjs";

export const BROWSERS = [chromium, firefox];

/** By browser and test: why not. */
export const NOT = {
  chromium: {},
  firefox: {
    page_takes_a_dropped_folder: "WebDriver BiDi does not drag files",
    trouble_with_a_lost_gpu: "without a screen it has no process for the GPU that could be ended",
    types_compile_strictly: "it asks no browser",
  },
};
