//! Passwords and keys: written in the file, or better, in a file of their own, the environment or a systemd credential.

use super::reader::{Located, Table};
use crate::base::Pii;
use std::path::Path;

/// A password or key. `Debug` shows nothing of it.
pub type Secret = Pii<String>;

/// Largest secret file that is read.
const SECRET_BYTES: u64 = 4_096;

/// Where systemd puts the credentials of a service (systemd.exec(5), `LoadCredential=`).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The keys a secret may stand under.
pub(super) struct Keys {
    written: &'static str,
    variable: &'static str,
    file: &'static str,
    credential: &'static str,
}

/// Our password at a peer.
pub(super) const PASSWORD: Keys =
    Keys { written: "password", variable: "password_env", file: "password_file", credential: "password_credential" };
/// The key of an account with a vendor.
pub(super) const PROVIDER_KEY: Keys =
    Keys { written: "key", variable: "key_env", file: "key_file", credential: "key_credential" };
/// A peer's password with us.
pub(super) const INBOUND_PASSWORD: Keys = Keys {
    written: "inbound_password",
    variable: "inbound_password_env",
    file: "inbound_password_file",
    credential: "inbound_password_credential",
};

/// Where `password_env` and `password_file` are looked up.
pub(super) struct Secrets<'s> {
    pub base: &'s Path,
    pub environment: &'s dyn Fn(&str) -> Option<String>,
}

impl Secrets<'_> {
    /// Reads exactly one of the keys, one of which must be there.
    pub(super) fn required(&self, table: &Table<'_, '_>, keys: &Keys) -> Option<Secret> {
        let secret = self.optional(table, keys)?;
        if secret.is_none() {
            table.missing(keys.variable, "\"PBX_PASSWORD\"");
        }
        secret
    }

    /// Reads one of the three keys, if one is there. The outer `None` is for a mistake.
    pub(super) fn optional(&self, table: &Table<'_, '_>, keys: &Keys) -> Option<Option<Secret>> {
        let all = [keys.written, keys.variable, keys.file, keys.credential];
        let given: Vec<_> = all.into_iter().filter(|key| table.has(key)).collect();
        if let [_, second, ..] = given[..] {
            let message = format!("`{}` and `{second}` are both given", given[0]);
            table.error(table.key_span(second), message, "keep one of them");
        }
        let written = table.text(keys.written);
        let variable = table.text(keys.variable);
        let file = table.text(keys.file);
        let credential = table.text(keys.credential);
        if given.is_empty() {
            return Some(None);
        }
        self.secret(table, written, variable, file, credential).map(Some)
    }

    fn secret(
        &self,
        table: &Table<'_, '_>,
        written: Option<Located<String>>,
        variable: Option<Located<String>>,
        file: Option<Located<String>>,
        credential: Option<Located<String>>,
    ) -> Option<Secret> {
        if let Some(password) = written {
            return Some(Secret::new(password.value));
        }
        if let Some(variable) = variable {
            let value = (self.environment)(&variable.value).filter(|value| !value.is_empty());
            if value.is_none() {
                let message = format!("the environment variable `{}` is not set", variable.value);
                table.error(variable.span, message, format!("start with `{}=… offhook …`", variable.value));
            }
            return value.map(Secret::new);
        }
        let (file, path) = match (file, credential) {
            (Some(file), _) => {
                let path = self.base.join(&file.value);
                (file, path)
            }
            (None, credential) => {
                let credential = credential?;
                let Some(directory) = (self.environment)(CREDENTIALS).filter(|directory| !directory.is_empty()) else {
                    let message = format!("there is no systemd credential `{}` here", credential.value);
                    let fix = format!("run as a service with `LoadCredential={}:/path/of/the/file`", credential.value);
                    table.error(credential.span, message, fix);
                    return None;
                };
                if credential.value.contains('/') {
                    table.error(credential.span, "a credential is named without a path", "write its name alone");
                    return None;
                }
                let path = Path::new(&directory).join(&credential.value);
                (credential, path)
            }
        };
        match read_secret(&path) {
            Ok(secret) => Some(Secret::new(secret)),
            Err(reason) => {
                let message = format!("the secret in {} cannot be used: {reason}", path.display());
                table.error(file.span, message, "put the secret alone into the file and let this user read it");
                None
            }
        }
    }
}

fn read_secret(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > SECRET_BYTES {
        return Err(format!("it has {size} bytes, more than {SECRET_BYTES}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("it is empty".to_owned()),
        secret if secret.contains('\n') => Err("it has more than one line".to_owned()),
        secret => Ok(secret.to_owned()),
    }
}
