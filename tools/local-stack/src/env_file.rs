//! A file of shell exports.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file of exports can't be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("the file of shell exports {} can't be written or removed", path.display())]
pub struct EnvFileError {
    path: PathBuf,
    source: io::Error,
}

/// Writes one `export` for each variable, so that the file is complete as soon as it is there.
pub(crate) fn write(path: &Path, variables: &[(String, String)]) -> Result<(), EnvFileError> {
    let mut text = String::from("# Points the pipeline at the running local stack.\n");
    for (name, value) in variables {
        text.push_str(&format!("export {name}={}\n", quote(value)));
    }
    let staged = path.with_extension("new");
    let write = || {
        let mut file = File::create(&staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    write().map_err(|source| EnvFileError { path: path.to_owned(), source })
}

/// Removes the file; an absent one is fine.
pub(crate) fn remove(path: &Path) -> Result<(), EnvFileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(EnvFileError { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// A shell word that stands for `value`, whatever it holds.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_every_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        let awkward = "it's $HOME `id` \"x\" \\ ;\n# end";
        write(&path, &[("AWKWARD".into(), awkward.into()), ("PLAIN".into(), "a,b:1".into())])
            .unwrap();
        let script =
            format!(". {}; printf '%s|%s' \"$AWKWARD\" \"$PLAIN\"", quote(path.to_str().unwrap()));
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{awkward}|a,b:1"));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }
}
