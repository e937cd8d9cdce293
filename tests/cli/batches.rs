//! Several pictures: batches, counts, prompt files, grids.

use crate::support::{Folder, decode, json_lines, settings, tiny};

#[test]
fn a_batch_has_the_pictures_that_its_seeds_draw_alone() {
    let folder = Folder::new();
    let said = folder.draw(&["a cat", "-b", "2", "--seed", "5", "-o", "batch.png"]);
    assert_eq!(said.out, "batch_1.png  seed 5\nbatch_2.png  seed 6\n");
    folder.draw(&["a cat", "--seed", "6", "-o", "alone.png"]);
    let (batch, alone) = (folder.read("batch_2.png"), folder.read("alone.png"));
    assert_eq!(settings(&batch), settings(&alone));
    let (a, b) = (decode(&batch).2, decode(&alone).2);
    let most = a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(most <= Some(1), "{most:?}");
    assert_ne!(decode(&folder.read("batch_1.png")), decode(&batch));
}

#[test]
fn one_generator_for_the_batch_draws_another_second_picture() {
    let folder = Folder::new();
    folder.draw(&["a cat", "-b", "2", "--seed", "5", "-o", "each.png"]);
    folder.draw(&["a cat", "-b", "2", "--seed", "5", "-o", "one.png", "--batch-seeds", "one"]);
    assert_eq!(decode(&folder.read("each_1.png")), decode(&folder.read("one_1.png")));
    assert_ne!(decode(&folder.read("each_2.png")), decode(&folder.read("one_2.png")));
    let settings = settings(&folder.read("one_2.png")).unwrap();
    assert_eq!((settings.seed(), settings.get("Batch pos")), (Some(5), Some("1")));
}

#[test]
fn batch_count_goes_on_with_the_seeds() {
    let folder = Folder::new();
    let args = ["a cat", "-b", "2", "--batch-count", "2", "--seed", "10", "-o", "n_%d.png", "--json"];
    let runs = json_lines(&folder.draw(&args));
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["seeds"], serde_json::json!([10, 11]));
    assert_eq!((&runs[1]["seed"], &runs[1]["seeds"]), (&12.into(), &serde_json::json!([12, 13])));
    assert_eq!(runs[1]["files"], serde_json::json!(["n_2.png", "n_3.png"]));
    assert_eq!(settings(&folder.read("n_3.png")).unwrap().seed(), Some(13));
}

#[test]
fn a_file_of_prompts_draws_each_line_from_the_same_seed() {
    let folder = Folder::new();
    folder.write("prompts.txt", "\u{feff}a cat\r\n\n   \na lighthouse  \n");
    let said = folder.draw(&["--from-file", "prompts.txt", "--seed", "3", "-o", "p.png", "--json"]);
    let runs = json_lines(&said);
    assert_eq!(
        runs.iter().map(|r| r["prompt"].as_str().unwrap()).collect::<Vec<_>>(),
        ["a cat", "a lighthouse"]
    );
    assert!(runs.iter().all(|run| run["seed"] == 3));
    folder.draw(&["a lighthouse", "--seed", "3", "-o", "alone.png"]);
    assert_eq!(folder.read("p_2.png"), folder.read("alone.png"));
    // The model was loaded once.
    let load = |run: &serde_json::Value| run["timings"]["load"].as_f64().unwrap();
    assert!(load(&runs[1]) < 0.5 * load(&runs[0]), "{said}", said = said.out);
}

#[test]
fn a_grid_holds_all_pictures() {
    let folder = Folder::new();
    let args = [
        "a cat",
        "-b",
        "2",
        "--batch-count",
        "2",
        "--seed",
        "1",
        "-W",
        "72",
        "-o",
        "g.png",
        "--grid",
        "--json",
    ];
    let runs = json_lines(&folder.draw(&args));
    assert_eq!((&runs[0]["grid"], &runs[1]["grid"]), (&serde_json::Value::Null, &"g_grid.png".into()));
    let (width, height, grid) = decode(&folder.read("g_grid.png"));
    assert_eq!((width, height), (144, 128));
    let (_, _, last) = decode(&folder.read("g_4.png"));
    let corner = &grid[(64 * 144 + 72) * 3..][..72 * 3];
    assert_eq!(corner, &last[..72 * 3]);
    folder.draw(&["a cat", "--grid"]);
    assert!(folder.names().contains(&"out_grid_00000.png".to_string()), "{:?}", folder.names());
}

#[test]
fn what_is_wrong_with_any_prompt_is_told_before_the_first_is_drawn() {
    let folder = Folder::new();
    folder.write("prompts.txt", format!("a cat\n{}\n", "dog ".repeat(5000)));
    folder.fails(
        2,
        &["generate", "--backend", "cpu", "-m", &tiny(), "--from-file", "prompts.txt"],
        &["--from-file prompts.txt: \"dog dog", "too long"],
    );
}
