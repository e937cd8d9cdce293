use assert_cmd::Command;
use calotype::image::Infotext;
use serde_json::Value as Json;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The committed pictures and the tiny models (`tests/goldens/README.md`).
pub fn goldens() -> PathBuf {
    // With its drive, on systems that have such: commands run elsewhere.
    std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens")).unwrap()
}

/// The command, in the folder where its files go. Through cargo's runner where one is set, which may bring a driver.
pub fn calotype(folder: &Path) -> Command {
    #[cfg(not(windows))]
    #[allow(deprecated, reason = "the macro in its place does not go through cargo's runner")]
    let mut command = Command::cargo_bin("calotype").unwrap();
    // There the tests run as the command does, and a runner is another system's.
    #[cfg(windows)]
    let mut command = Command::new(std::path::absolute(env!("CARGO_BIN_EXE_calotype")).unwrap());
    command.current_dir(folder).env_remove("RUST_LOG");
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let hub = name.starts_with("HF_") || name.starts_with("HUGGING");
        let proxy = name.to_uppercase().ends_with("_PROXY");
        if hub || proxy || ["TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME"].contains(&&*name) {
            command.env_remove(variable);
        }
    }
    // A cache and a token of this machine are none of the tests' business.
    command.env("HF_HOME", folder.join("no-cache"));
    // Nor are kernels that other programs left there, or what was found to be fastest.
    command.env("CALOTYPE_CACHE_DIR", "");
    command
}

/// The model that most tests draw with: its pictures mean nothing, and take no time.
pub fn tiny() -> String {
    goldens().join("sd1-tiny/model").to_str().unwrap().to_string()
}

/// A folder for one test's files, and what its commands find in the environment.
pub struct Folder(TempDir, Vec<(&'static str, String)>);

/// What a command that did its work said.
pub struct Said {
    pub out: String,
    pub err: String,
}

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap(), Vec::new())
    }

    /// Sets a variable for its commands.
    pub fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.1.retain(|(name, _)| *name != variable);
        self.1.push((variable, value.into()));
        self
    }

    pub fn command(&self) -> Command {
        let mut command = calotype(self.path());
        command.envs(self.1.iter().map(|(name, value)| (*name, value)));
        command
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The names of what is in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    /// Runs a command that must succeed.
    pub fn run(&self, args: &[&str]) -> Said {
        let output = self.command().args(args).output().unwrap();
        let said = Said {
            out: String::from_utf8(output.stdout).unwrap(),
            err: slashed(&String::from_utf8(output.stderr).unwrap()),
        };
        assert!(output.status.success(), "{args:?}: {}\n{}{}", output.status, said.out, said.err);
        said
    }

    /// Draws on the CPU with the tiny model in two steps, unless `more` says otherwise.
    pub fn draw(&self, more: &[&str]) -> Said {
        let tiny = tiny();
        let mut args = vec!["generate", "--backend", "cpu"];
        if !more.contains(&"-m") {
            args.extend(["-m", &tiny]);
        }
        if !more.contains(&"--steps") {
            args.extend(["--steps", "2"]);
        }
        args.extend(more);
        self.run(&args)
    }

    /// Draws `a cat` with seed 1 into a file that is then read and removed; without the settings, so that files of
    /// equal pictures are equal.
    pub fn drawn(&self, more: &[&str]) -> Vec<u8> {
        let mut args = vec!["a cat", "--no-metadata", "-o", "drawn.png"];
        if !more.contains(&"--seed") {
            args.extend(["--seed", "1"]);
        }
        args.extend(more);
        self.draw(&args);
        let bytes = self.read("drawn.png");
        fs::remove_file(self.path().join("drawn.png")).unwrap();
        bytes
    }

    /// Runs a command that must fail: with `code`, one line that starts with `error: ` and has all of `parts`, no panic,
    /// nothing on stdout, and no file left behind.
    pub fn fails(&self, code: i32, args: &[&str], parts: &[&str]) {
        let before = self.names();
        let output = self.command().args(args).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        let errors: Vec<&str> = err.lines().filter(|line| line.starts_with("error")).collect();
        let [error] = errors[..] else { panic!("{args:?}: not one error:\n{err}") };
        assert!(error.starts_with("error: "), "{error}");
        for part in parts {
            assert!(slashed(error).contains(&slashed(part)), "{args:?}: no {part:?} in: {error}");
        }
        let said: Vec<&str> = error.split(": ").collect();
        let again = said.iter().enumerate().find(|(i, part)| said[i + 1..].contains(part));
        assert!(again.is_none() && error.matches("os error").count() < 2, "said twice: {error}");
        assert!(!err.contains("panicked") && !err.contains("RUST_BACKTRACE"), "{err}");
        assert!(out.is_empty(), "{args:?}: {out}");
        assert_eq!(self.names(), before, "{args:?} left a file");
    }
}

/// A text in which paths have the separators that the tests are written with.
fn slashed(text: &str) -> String {
    if cfg!(windows) { text.replace('\\', "/") } else { text.into() }
}

/// The lines of `--json`.
pub fn json_lines(said: &Said) -> Vec<Json> {
    said.out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// A PNG's size and its RGB values.
pub fn decode(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    pixels.truncate(info.buffer_size());
    (info.width as usize, info.height as usize, pixels)
}

/// A PNG's settings.
pub fn settings(bytes: &[u8]) -> Option<Infotext> {
    calotype::image::parameters(bytes).unwrap().map(|text| Infotext::parse(&text))
}

/// Whether the machine has an adapter, software or not.
pub fn has_adapter() -> bool {
    let said = Folder::new().run(&["adapters", "--json"]);
    json_lines(&said)[0].as_array().is_some_and(|a| !a.is_empty())
}
