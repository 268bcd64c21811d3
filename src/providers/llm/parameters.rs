//! Options of language models that several vendors share, read and checked once.

use crate::providers::{Settings, SettingsError};
use serde_json::{Map, Value};

/// Output tokens where neither prompt nor settings say: about two minutes of speech.
const OUTPUT_TOKENS: u32 = 512;

/// A sampling parameter as given, when it lies within the bounds that all vendors share.
pub(super) fn number(settings: &Settings, name: &str, most: f64) -> Result<Option<Value>, SettingsError> {
    let Some(value) = settings.options.get(name) else { return Ok(None) };
    match value.as_f64() {
        Some(number) if (0.0..=most).contains(&number) => Ok(Some(value.clone())),
        _ => Err(settings.error(format!("option `{name}` must be a number from 0 to {most}"))),
    }
}

/// A whole number above zero.
pub(super) fn count(settings: &Settings, name: &str) -> Result<Option<u32>, SettingsError> {
    let Some(value) = settings.options.get(name) else { return Ok(None) };
    match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
        Some(number) if number > 0 => Ok(Some(number)),
        _ => Err(settings.error(format!("option `{name}` must be a whole number above 0"))),
    }
}

/// A truth value.
pub(super) fn flag(settings: &Settings, name: &str) -> Result<Option<bool>, SettingsError> {
    match settings.options.get(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(settings.error(format!("option `{name}` must be true or false"))),
    }
}

/// A table.
pub(super) fn table(settings: &Settings, name: &str) -> Result<Map<String, Value>, SettingsError> {
    match settings.options.get(name) {
        None => Ok(Map::new()),
        Some(Value::Object(table)) => Ok(table.clone()),
        Some(_) => Err(settings.error(format!("option `{name}` must be a table"))),
    }
}

/// `max_tokens`, the option.
pub(super) fn output_tokens(settings: &Settings) -> Result<u32, SettingsError> {
    Ok(count(settings, "max_tokens")?.unwrap_or(OUTPUT_TOKENS))
}

/// The limit of an answer: the prompt's, else the configured one.
pub(super) fn limit(prompt_limit: u32, configured: u32) -> u32 {
    if prompt_limit == 0 { configured } else { prompt_limit }
}

/// The effort a model of OpenAI is asked for where none is configured: as little as it knows, since a caller waits.
/// `None` for models that do not reason or of which nothing is known.
pub(super) fn least_effort(model: &str) -> Option<&'static str> {
    let rest = model.strip_prefix("gpt-5").or_else(|| model.strip_prefix("gpt-6"))?;
    match rest {
        _ if rest.contains("-pro") || rest.contains("-chat") || rest.contains("-codex") => None,
        _ if model.starts_with("gpt-6") || rest.starts_with('.') => Some("none"),
        _ => Some("minimal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::llm::tests::settings;
    use serde_json::json;

    #[test]
    fn an_option_of_the_wrong_kind_is_refused_by_its_name() {
        let with = |name: &str, value: Value| settings(&[(name, value)]);
        for wrong in [json!("warm"), json!(-1), json!(2.5)] {
            let error = number(&with("temperature", wrong), "temperature", 2.0).map_err(|e| e.to_string());
            assert!(error.is_err_and(|words| words.contains("`temperature`")));
        }
        assert_eq!(number(&with("temperature", json!(0.4)), "temperature", 2.0), Ok(Some(json!(0.4))));
        assert!(count(&with("max_tokens", json!(0)), "max_tokens").is_err());
        assert!(flag(&with("store", json!("yes")), "store").is_err());
        assert!(table(&with("extra_body", json!([])), "extra_body").is_err());
    }

    #[test]
    fn the_prompt_s_limit_goes_before_the_configured_one() {
        assert_eq!(limit(0, 512), 512);
        assert_eq!(limit(40, 512), 40);
    }

    #[test]
    fn a_model_that_reasons_is_asked_to_do_so_as_little_as_it_can() {
        assert_eq!(least_effort("gpt-5.4-mini"), Some("none"));
        assert_eq!(least_effort("gpt-6-luna"), Some("none"));
        assert_eq!(least_effort("gpt-5-mini-2025-08-07"), Some("minimal"));
        assert_eq!(least_effort("gpt-5.2-pro"), None);
        assert_eq!(least_effort("gpt-4.1-mini"), None);
        assert_eq!(least_effort("llama3.2"), None);
    }
}
