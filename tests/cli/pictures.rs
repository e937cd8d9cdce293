//! `--init-img` and `--mask`: pictures to begin from, what of them is kept, and what is wrong with them.

use crate::support::{Folder, decode, goldens, settings, tiny};
use std::fs;

/// A folder with a picture, its mask, and files that are none.
fn folder() -> Folder {
    let folder = Folder::new();
    for (name, from) in [
        ("photo.png", "sd1-tiny/pictures/init.png"),
        ("mask.png", "sd1-tiny/pictures/mask.png"),
        ("small.png", "sd1-tiny/pictures/encoded_small.png"),
        ("cut.jpg", "pictures_in/cut.jpg"),
        ("cut.png", "pictures_in/cut.png"),
        ("cmyk.jpg", "pictures_in/cmyk.jpg"),
        ("wide.png", "pictures_in/wide.png"),
        ("moving.webp", "pictures_in/moving.webp"),
    ] {
        folder.write(name, fs::read(goldens().join(from)).unwrap());
    }
    folder.write("words.txt", "no picture");
    folder
}

const MASKED: [&str; 4] = ["--init-img", "photo.png", "--mask", "mask.png"];

#[test]
fn a_mask_keeps_what_is_black_in_it() {
    let folder = folder();
    let (w, h, own) = decode(&folder.read("photo.png"));
    let mask = fs::read(goldens().join("sd1-tiny/pictures/mask.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(mask)).read_info().unwrap();
    let mut mask = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut mask).unwrap();
    let whole = folder.drawn(&["--init-img", "photo.png"]);
    for rule in ["diffusers", "a1111"] {
        let args = [&MASKED[..], &["--img2img-steps", rule, "--mask-blur", "0", "-o", "p.png"]].concat();
        let drawn = folder.drawn(&args[..args.len() - 2]);
        assert_ne!(drawn, whole);
        let (width, height, pixels) = decode(&drawn);
        assert_eq!((width, height), (w, h));
        let pairs = mask.iter().zip(pixels.chunks(3).zip(own.chunks(3)));
        let (kept, anew): (Vec<_>, Vec<_>) = pairs.partition(|(value, _)| **value == 0);
        assert!(kept.iter().all(|(_, (drawn, own))| drawn == own), "{rule}");
        let changed = anew.iter().filter(|(_, (drawn, own))| drawn != own).count();
        assert!(2 * changed > anew.len(), "{rule}: {changed} of {}", anew.len());
        // With a softer edge another picture.
        let soft = folder.drawn(&[&MASKED[..], &["--img2img-steps", rule, "--mask-blur", "3"]].concat());
        assert_ne!(soft, drawn);
    }
}

#[test]
fn a_picture_tells_of_its_mask() {
    let folder = folder();
    folder.draw(&[&["a cat", "--seed", "1", "-o", "p.png", "--mask-blur", "2.5"], &MASKED[..]].concat());
    assert_eq!(settings(&folder.read("p.png")).unwrap().get("Mask blur"), Some("2.5"));
    let tiny = tiny();
    let again = ["generate", "--backend", "cpu", "-m", &tiny, "--from-png", "p.png", "-o", "q.png"];
    folder.run(&[&again[..], &MASKED].concat());
    assert!(folder.read("p.png") == folder.read("q.png"));
    fs::remove_file(folder.path().join("q.png")).unwrap();
    // Without its picture and its mask it is told what is not honoured.
    let said = folder.run(&again);
    assert!(said.err.contains("not honoured: Mask blur: 2.5"), "{}", said.err);
}

#[test]
fn all_that_is_said_of_a_mask_is_told_and_taken_up() {
    let folder = folder();
    let said = [
        &[
            "a cat",
            "--seed",
            "1",
            "-o",
            "p.png",
            "--mask-blur",
            "1",
            "--inpaint-fill",
            "noise",
            "--soft-mask",
        ][..],
        &["--inpaint-area", "masked", "--inpaint-padding", "4", "-W", "64", "-H", "64"],
        &["--outpaint", "8,0,0,16"],
        &MASKED,
    ];
    folder.draw(&said.concat());
    let told = settings(&folder.read("p.png")).unwrap();
    for (name, value) in [
        ("Masked content", "latent noise"),
        ("Inpaint area", "Only masked"),
        ("Masked area padding", "4"),
        ("Soft mask", "True"),
        ("Outpaint", "8 0 0 16"),
    ] {
        assert_eq!(told.get(name), Some(value));
    }
    let tiny = tiny();
    let again = ["generate", "--backend", "cpu", "-m", &tiny, "--from-png", "p.png", "-o", "q.png"];
    folder.run(&[&again[..], &MASKED].concat());
    assert!(folder.read("p.png") == folder.read("q.png"));
    // A picture larger than the one that was given.
    assert_eq!(decode(&folder.read("p.png")).0, 80);
}

#[test]
fn what_is_wrong_with_a_picture_is_one_line() {
    let folder = folder();
    let tiny = tiny();
    let refused = |code: i32, more: &[&str], parts: &[&str]| {
        let command = ["generate", "a cat", "--backend", "cpu", "--steps", "2", "-m", &tiny];
        folder.fails(code, &[&command, more].concat(), parts);
    };
    let bad = [
        ("cut.jpg", "cut off"),
        ("cut.png", "not readable"),
        ("cmyk.jpg", "CMYK"),
        ("wide.png", "60000x3 pixels are too many"),
        ("moving.webp", "a moving picture"),
        ("words.txt", "neither a PNG nor a JPEG nor a WebP"),
        ("none.png", "cannot be read"),
    ];
    for (file, what) in bad {
        refused(1, &["--init-img", file], &["--init-img", file, what]);
        refused(1, &["--init-img", "photo.png", "--mask", file], &["--mask", file, what]);
    }
    // Control nets: none, no file, a file that is none, more numbers than nets.
    let image = ["--control-image", "photo.png"];
    refused(2, &image, &["--control-image is given 1 times, and --control-net 0: give a net for each"]);
    let net = ["--control-net", "none.safetensors"];
    refused(1, &[net, image].concat(), &["--control-net: none.safetensors"]);
    let unet = goldens().join("sd1-tiny/model/unet/diffusion_pytorch_model.safetensors");
    let net = ["--control-net", unet.to_str().unwrap()];
    refused(
        2,
        &[net, image].concat(),
        &["--control-net", "a model, or a component of one, and no control net"],
    );
    refused(
        2,
        &[&net[..], &["--control-scale", "1", "--control-scale", "2"]].concat(),
        &["--control-scale is given 2 times"],
    );
    refused(
        2,
        &[&net[..], &image, &["--control-mode", "loose"]].concat(),
        &["--control-mode", "balanced, prompt, control, guess"],
    );
    // A mask by itself, of another size, with nothing to draw.
    refused(2, &["--mask", "mask.png"], &["--mask says what of a picture is drawn anew: give --init-img"]);
    refused(
        2,
        &["--init-img", "photo.png", "--mask", "small.png"],
        &["--mask is 64x64, and --init-img 72x48: give one of the same size"],
    );
    let (width, height, pixels) = decode(&folder.read("photo.png"));
    let black = calotype::Picture::new(width, height, 3, vec![0; pixels.len()]).unwrap();
    folder.write("black.png", black.png(None).unwrap());
    refused(2, &["--init-img", "photo.png", "--mask", "black.png"], &["--mask is black all over"]);
    refused(2, &["--mask-blur", "4"], &["--mask-blur is about a mask: give --mask"]);
    refused(2, &["--inpaint-fill", "noise"], &["--inpaint-fill is about a mask: give --mask"]);
    refused(2, &["--init-img", "photo.png", "--outpaint", "8,8"], &["--outpaint", "left,top,right,bottom"]);
    refused(2, &["--outpaint", "8,8,8,8"], &["--outpaint makes a picture larger: give --init-img"]);
    refused(
        2,
        &["--init-img", "photo.png", "--outpaint", "0,0,5,0"],
        &["--outpaint makes the picture 77x48", "give 5 less or 3 more"],
    );
    refused(2, &[&MASKED[..], &["--mask-blur", "-1"]].concat(), &["--mask-blur -1 is not between 0 and 256"]);
}

#[test]
fn a_run_shows_what_it_is_at() {
    let folder = folder();
    let plain = folder.drawn(&["-W", "64", "-H", "40"]);
    let shown = folder.drawn(&["-W", "64", "-H", "40", "--preview-file", "at.png"]);
    assert_eq!(plain, shown);
    let (width, height, pixels) = decode(&folder.read("at.png"));
    assert_eq!((width, height), (8, 5));
    assert!(pixels.iter().any(|value| *value != pixels[0]));
    let base = ["generate", "a cat", "--backend", "cpu", "-m", &tiny(), "-o", "new.png", "--preview-file"]
        .map(String::from);
    let refused = |code: i32, file: &str, parts: &[&str]| {
        let args: Vec<&str> = base.iter().map(String::as_str).chain([file]).collect();
        folder.fails(code, &args, parts);
    };
    refused(1, "at.png", &["at.png", "--overwrite"]);
    refused(2, "new.png", &["--preview-file"]);
    folder.fails(
        2,
        &["grid", "a cat", "--x", "steps=1,2", "--preview-file", "b.png"],
        &["--preview-file", "many runs"],
    );
    folder.fails(2, &["generate", "a cat", "--preview-every", "2"], &["--preview-file is required"]);
}

#[test]
fn what_steers_is_not_written_over() {
    let folder = folder();
    let args = [
        "generate",
        "a cat",
        "-m",
        &tiny(),
        "--control-net",
        "net.safetensors",
        "--control-image",
        "photo.png",
    ];
    folder.fails(
        2,
        &[&args[..], &["--overwrite", "-o", "photo.png"]].concat(),
        &["photo.png", "--control-image"],
    );
    folder.fails(2, &[&args[..], &["--overwrite", "-o", "net.safetensors"]].concat(), &["net.safetensors"]);
}
