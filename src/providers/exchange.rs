//! One exchange of HTTP with a vendor whose answer is read as it arrives.

use super::error::{ProviderError, ProviderName, in_short, is_unpaid};
use super::limits::{ANSWER_BYTES, ERROR_BYTES};
use super::network::Network;
use super::reach::of_certificate;
use super::wire::{Keys, Request};
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::error::Error;
use std::time::Duration;

/// An answer under way. Dropping it closes the exchange: the vendor stops.
#[derive(Debug)]
pub struct Exchange {
    provider: ProviderName,
    response: reqwest::Response,
}

/// Why a request got no good answer: with the vendor's own words, for adapters that must read them first.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The first octets of the body, without the key of the request.
    pub body: String,
    /// `retry-after`, where the vendor says so.
    pub retry_after: Option<Duration>,
}

impl Exchange {
    /// Sends a request and waits at most `limit` for the head of the answer. The inner `Err` is an answer with a status
    /// other than 2xx.
    ///
    /// # Errors
    /// [`ProviderError::Transient`] or [`ProviderError::Timeout`] when there is no answer at all.
    pub async fn begin(
        provider: ProviderName,
        network: &Network,
        request: &Request,
        limit: Duration,
    ) -> Result<Result<Self, Refusal>, ProviderError> {
        let bad = |reason: String| ProviderError::BadRequest { provider: provider.clone(), reason };
        let method = reqwest::Method::from_bytes(request.method.as_bytes()).map_err(|e| bad(e.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(e.to_string()))?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad(format!("header {name}")))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let (client, connect_limit) = network
            .http()
            .map_err(|error| ProviderError::Failed { provider: provider.clone(), reason: error.to_string() })?;
        let outgoing = client.request(method, &request.url).headers(headers).body(request.body.expose().clone()).send();
        let response = match tokio::time::timeout(limit, outgoing).await {
            Err(_) => return Err(ProviderError::Timeout { provider, stage: "answer", after: limit }),
            Ok(Err(error)) => return Err(classify(provider, &error, limit.min(connect_limit))),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() {
            return Ok(Ok(Self { provider, response }));
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let milliseconds = header("retry-after-ms").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let retry_after = milliseconds.or_else(|| header("retry-after").and_then(retry_after));
        let status = response.status().as_u16();
        let mut exchange = Self { provider, response };
        let reading = exchange.read_up_to(ERROR_BYTES);
        let body = tokio::time::timeout(limit, reading).await.unwrap_or_default();
        let body = Keys::of(&request.headers).hide(String::from_utf8_lossy(&body).into_owned());
        Ok(Err(Refusal { status, body, retry_after }))
    }

    /// The next octets of the body; `None` at its end. Cancel-safe.
    ///
    /// # Errors
    /// [`ProviderError::Transient`] when the answer breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ProviderError> {
        let after = Duration::ZERO;
        self.response.chunk().await.map_err(|error| classify(self.provider.clone(), &error, after))
    }

    /// The whole body, at most [`ANSWER_BYTES`] of it.
    ///
    /// # Errors
    /// Not whole within `limit`, or broken off.
    pub async fn whole(mut self, limit: Duration) -> Result<Vec<u8>, ProviderError> {
        let provider = self.provider.clone();
        let reading = async {
            let mut body = Vec::new();
            while let Some(part) = self.next().await? {
                if body.len() + part.len() > ANSWER_BYTES {
                    let reason = format!("an answer larger than {ANSWER_BYTES} octets");
                    return Err(ProviderError::Protocol { provider: self.provider.clone(), reason });
                }
                body.extend_from_slice(&part);
            }
            Ok(body)
        };
        tokio::time::timeout(limit, reading).await.unwrap_or(Err(ProviderError::Timeout {
            provider,
            stage: "answer",
            after: limit,
        }))
    }

    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    async fn read_up_to(&mut self, most: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while let Ok(Some(part)) = self.next().await {
            body.extend_from_slice(&part[..part.len().min(most - body.len())]);
            if body.len() >= most {
                break;
            }
        }
        body
    }
}

impl Refusal {
    /// The usual reading of a status and of the code beside it for "no money left"; vendors' own words for that are looked for
    /// first by their adapters.
    #[must_use]
    pub fn into_error(self, provider: ProviderName) -> ProviderError {
        if is_unpaid(&self.body) {
            return ProviderError::Quota { provider, reason: self.message() };
        }
        ProviderError::from_status(provider, self.status, &self.message(), self.retry_after)
    }

    /// The message inside the usual shapes of a JSON error, else the body.
    #[must_use]
    pub fn message(&self) -> String {
        let parsed: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        let places = ["/error/message", "/detail/message", "/error", "/message", "/detail", "/err_msg"];
        let found = parsed.as_ref().and_then(|value| places.iter().find_map(|at| value.pointer(at)?.as_str()));
        in_short(found.unwrap_or(&self.body))
    }
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3); the form with a date is not used by any vendor here.
#[must_use]
pub fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse::<f32>().ok().and_then(|seconds| Duration::try_from_secs_f32(seconds).ok())
}

/// "Please try again in 1.2s": the wait that OpenAI names in words only, within a stream.
#[must_use]
pub fn wait_in_words(message: &str) -> Option<Duration> {
    let (_, behind) = message.split_once("try again in ")?;
    let word = behind.split_whitespace().next()?.trim_end_matches(['.', ',']);
    match word.strip_suffix("ms") {
        Some(milliseconds) => milliseconds.parse().ok().map(Duration::from_millis),
        None => retry_after(word.strip_suffix('s')?),
    }
}

/// Sorts the library's error. Its own text repeats the URL: only the innermost cause is kept.
fn classify(provider: ProviderName, error: &reqwest::Error, limit: Duration) -> ProviderError {
    if error.is_timeout() && !limit.is_zero() {
        return ProviderError::Timeout { provider, stage: "connection", after: limit };
    }
    let address = error.url().map_or_else(String::new, |url| {
        format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
    });
    if let Some(why) = of_certificate(&address, error) {
        return ProviderError::Untrusted { provider, why };
    }
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    ProviderError::Transient { provider, reason: in_short(&cause.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_error_are_found_in_every_vendor_s_shape() {
        let of = |body: &str| Refusal { status: 400, body: body.into(), retry_after: None }.message();
        assert_eq!(of(r#"{"error":{"message":"no such model"}}"#), "no such model");
        assert_eq!(of(r#"{"detail":{"status":"x","message":"no voice"}}"#), "no voice");
        assert_eq!(of(r#"{"err_code":"X","err_msg":"bad encoding"}"#), "bad encoding");
        assert_eq!(of("upstream is gone"), "upstream is gone");
    }

    #[test]
    fn a_wait_that_is_no_number_is_no_wait() {
        assert_eq!(retry_after("2"), Some(Duration::from_secs(2)));
        assert_eq!(retry_after("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("-1"), None);
    }

    #[test]
    fn the_wait_in_words_is_understood() {
        assert_eq!(
            wait_in_words("Limit reached. Please try again in 1.5s. Visit …"),
            Some(Duration::from_millis(1_500))
        );
        assert_eq!(wait_in_words("Please try again in 20ms."), Some(Duration::from_millis(20)));
        assert_eq!(wait_in_words("Please try again in a while"), None);
        assert_eq!(wait_in_words("no"), None);
    }
}
