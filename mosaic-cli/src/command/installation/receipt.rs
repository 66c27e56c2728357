//! `receipt.json`: what `install.sh` installed, and how it was called.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::place::Place;
use crate::failure::{Code, Failure, sentence};
use crate::files::ordinary;

pub const NAME: &str = "receipt.json";

#[derive(Clone, Debug, Deserialize)]
pub struct Receipt {
    pub version: String,
    /// `None`: it was no clone.
    pub commit: Option<String>,
    /// Whether that clone had changes of its own.
    pub dirty: bool,
    pub clone: PathBuf,
    /// Beside `--prefix`.
    pub flags: Vec<String>,
    pub pg_major: u32,
}

impl Receipt {
    pub fn of(place: &Place) -> Result<Receipt, Failure> {
        Receipt::read(&place.private.join(NAME))?.ok_or_else(|| {
            Failure::new(
                Code::WrongState,
                format!("no receipt tells where {} comes from", place.prefix.display()),
            )
            .detail("A version before `mosaic update` installed it, or its installation was cut off. Nothing was changed.")
            .hint(format!(
                "In a clone of Mosaic: `git pull && ./install.sh --prefix {}`.",
                place.prefix.display()
            ))
        })
    }

    /// `None`: there is none.
    pub fn read(file: &Path) -> Result<Option<Receipt>, Failure> {
        let text = match ordinary::read_text(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::io(
                    format!("cannot read {}", file.display()),
                    &error,
                ));
            }
        };
        let receipt = serde_json::from_str(&text).map_err(|error| {
            Failure::new(
                Code::WrongState,
                format!("{} is not a receipt", file.display()),
            )
            .detail(format!("{} Nothing was changed.", sentence(&error)))
            .hint("Run the install.sh of a clone of Mosaic, which writes it anew.")
        })?;
        Ok(Some(receipt))
    }

    /// The `pg_config` of the server that has the extension too.
    pub fn pg_config(&self) -> Option<&Path> {
        let at = self.flags.iter().position(|flag| flag == "--pg-config")?;
        self.flags.get(at + 1).map(Path::new)
    }

    pub fn to_json(&self) -> Value {
        json!({"version": self.version, "commit": self.commit})
    }
}
