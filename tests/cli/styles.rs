//! `--styles` and `--style`: prompts are put into texts of a table, by A1111's rule (modules/styles.py).

use crate::support::{Folder, json_lines, settings, tiny};

/// With a mark of byte order, quotes, a comment and columns in another order, as such files are about.
const TABLE: &str = "\u{feff}name,negative_prompt,prompt\r\n\
    # old,no,no\r\n\
    ink,\"colour, grey\",\"ink drawing of {prompt}, {prompt} alone\"\r\n\
    soft,,\" mist, dawn \"\r\n\
    not,blurred,\r\n\
    ,nameless,nameless\r\n";

fn drawn(folder: &Folder, args: &[&str]) -> serde_json::Value {
    let tiny = tiny();
    let all = [&["generate", "-m", &tiny, "--backend", "cpu", "--steps", "1", "--json"], args].concat();
    json_lines(&folder.run(&all)).remove(0)
}

#[test]
fn prompts_are_put_into_styles() {
    let folder = Folder::new();
    folder.write("styles.csv", TABLE);
    let table = ["--styles", "styles.csv", "--style"];
    let cases: [(&[&str], &[&str], [&str; 2]); 5] = [
        (&["a cat"], &["ink"], ["ink drawing of a cat, a cat alone", "colour, grey"]),
        (&["a cat "], &["soft"], ["a cat, mist, dawn", ""]),
        (&["", "-n", "dark"], &["soft", "--style", "not"], ["mist, dawn", "dark, blurred"]),
        (
            &["a cat"],
            &["soft", "--style", "ink"],
            ["ink drawing of a cat, mist, dawn, a cat, mist, dawn alone", "colour, grey"],
        ),
        (&["a cat", "-n", "dark"], &["ink"], ["ink drawing of a cat, a cat alone", "dark, colour, grey"]),
    ];
    for (prompts, styles, [prompt, negative]) in cases {
        let told = drawn(&folder, &[prompts, &table, styles, &["-o", "a.png", "--overwrite"]].concat());
        assert_eq!(
            (&told["prompt"], &told["negative_prompt"]),
            (&prompt.into(), &negative.into()),
            "{styles:?}"
        );
    }
    // The picture tells what was drawn.
    let carried = settings(&folder.read("a.png")).unwrap();
    assert_eq!(
        (&*carried.prompt, &*carried.negative_prompt),
        ("ink drawing of a cat, a cat alone", "dark, colour, grey")
    );
    folder.write("prompts.txt", "a cat\na dog\n");
    let args = [&["--from-file", "prompts.txt"], &table[..], &["soft"]].concat();
    assert_eq!(drawn(&folder, &args)["prompt"], "a cat, mist, dawn");
    folder.write("older.csv", "name,text\nold,seen from above\n");
    let older = ["a cat", "--styles", "older.csv", "--style", "old"];
    assert_eq!(drawn(&folder, &older)["prompt"], "a cat, seen from above");
}

#[test]
fn what_is_wrong_with_styles_is_told() {
    let folder = Folder::new();
    folder.write("styles.csv", TABLE);
    folder.write("columns.csv", "a,b\nc,d\n");
    let tiny = tiny();
    let draw = ["generate", "a cat", "-m", &tiny, "--backend", "cpu"];
    let with = |flags: &[&'static str]| [&draw[..], flags].concat();
    folder.fails(2, &with(&["--style", "ink"]), &["--styles"]);
    folder.fails(2, &with(&["--styles", "styles.csv"]), &["--style"]);
    let missing = ["--styles", "styles.csv", "--style", "oil"];
    folder.fails(2, &with(&missing), &["--style oil", "ink, soft, not"]);
    folder.fails(1, &with(&["--styles", "no.csv", "--style", "ink"]), &["--styles no.csv", "cannot be read"]);
    let columns = ["--styles", "columns.csv", "--style", "c"];
    folder.fails(1, &with(&columns), &["--styles columns.csv", "name, prompt"]);
}
