//! Passwords and tokens, from where nobody else reads them: files, standard input, the environment.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use super::Reach;
use super::failure::AdminError;
use crate::config::{password_of_environment, token_of_environment};

/// Bytes that are read of a file: no password is as long.
const READ_BYTES_MAX: u64 = 64 << 10;

/// What stands for standard input.
fn standard_input() -> PathBuf {
    PathBuf::from("-")
}

/// The password to sign in with, if one is given.
pub(super) fn of_signing_in(reach: &Reach) -> Result<Option<String>, AdminError> {
    match &reach.password_file {
        Some(file) => read(file).map(Some),
        None => Ok(password_of_environment()),
    }
}

/// The token to act with, if one is given.
pub(super) fn token() -> Option<String> {
    token_of_environment()
}

/// A password that is to be set; from standard input unless a file is named.
pub(super) fn new_password(file: Option<&Path>, reach: &Reach) -> Result<String, AdminError> {
    let file = file.map_or_else(standard_input, Path::to_owned);
    if file == standard_input() && reach.password_file.as_ref() == Some(&file) {
        return Err(AdminError::Usage(
            "standard input can hold one password: give the other one in a file or in RUNSTREAM_PASSWORD",
        ));
    }
    let password = read(&file)?;
    // Nobody saw what was typed.
    if file == standard_input() && io::stdin().is_terminal() && ask("Again: ", &file)? != password {
        return Err(AdminError::Usage("the two passwords differ"));
    }
    Ok(password)
}

fn ask(question: &str, file: &Path) -> Result<String, AdminError> {
    rpassword::prompt_password(question)
        .map_err(|source| AdminError::Secret { from: file.to_owned(), source })
}

/// The text of a file, or of standard input, without the end of its line. At a terminal it is asked for and not shown.
pub(super) fn read(file: &Path) -> Result<String, AdminError> {
    let failed = |source| AdminError::Secret { from: file.to_owned(), source };
    let mut text = String::new();
    if file == standard_input() {
        let input = io::stdin();
        if input.is_terminal() {
            text = ask("Password: ", file)?;
        } else {
            input.lock().take(READ_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        }
    } else {
        File::open(file)
            .and_then(|file| file.take(READ_BYTES_MAX).read_to_string(&mut text))
            .map_err(failed)?;
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        let nothing = io::Error::new(io::ErrorKind::UnexpectedEof, "there is nothing in it");
        return Err(failed(nothing));
    }
    Ok(text.to_owned())
}
