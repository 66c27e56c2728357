//! A version that can be had.

#[derive(Debug)]
pub struct Offer {
    pub version: String,
    pub commit: String,
    /// How many commits that is; `None`: the source does not know the installed one.
    pub commits: Option<u64>,
    /// The scripts of the extension, by name.
    pub scripts: Vec<String>,
}
