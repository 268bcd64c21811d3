//! Utterances by HTTP: a request per piece of text, its answer read as it arrives.

use super::protocol::{TtsTransport, Voiced};
use super::speech::Speech;
use super::stream::{Permit, Shared, fail, late};
use super::{SpeakRequest, TtsChunk, Voice, pieces};
use crate::providers::ProviderError;
use crate::providers::error::in_short;
use crate::providers::exchange::Exchange;
use crate::providers::format::AudioFormat;
use crate::providers::wire::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Audio that may wait for the call before the vendor is read no further.
const WAITING: Duration = Duration::from_secs(60);
/// Pages of a list of voices: more than any vendor has, fewer than one that never ends.
const PAGES: usize = 20;
/// A list is asked for by people, who can wait.
const LIST_LIMIT: Duration = Duration::from_secs(10);

type Out = mpsc::Sender<Result<TtsChunk, ProviderError>>;

/// One utterance.
pub(super) async fn utter(
    shared: Arc<Shared>,
    request: Arc<SpeakRequest>,
    format: AudioFormat,
    mut speech: Speech,
    permit: Permit,
    out: Out,
) {
    let spoken = tokio::select! {
        biased;
        () = out.closed() => return,
        spoken = speak(&shared, &request, format, &mut speech, &out) => spoken,
    };
    drop(permit);
    if let Err(error) = spoken {
        return fail(&shared, speech, error, &out).await;
    }
    if speech.has_chunk() {
        let _ = out.send(Ok(speech.take_chunk())).await;
    }
}

async fn speak(
    shared: &Shared,
    request: &SpeakRequest,
    format: AudioFormat,
    speech: &mut Speech,
    out: &Out,
) -> Result<(), ProviderError> {
    let TtsTransport::Http(vendor) = shared.vendor.transport() else { return Ok(()) };
    for (place, piece) in pieces::cut(&request.text, vendor.cut()).into_iter().enumerate() {
        let now = Instant::now();
        if place > 0 {
            let again = speech.next_piece(piece.start, format, now.into_std());
            again.map_err(|error| shared.failed(error.to_string()))?;
        }
        let text = request.text.get(piece).unwrap_or_default();
        if !text.chars().any(char::is_alphanumeric) {
            continue;
        }
        let asked = SpeakRequest { text: text.to_owned(), ..request.clone() };
        let limit = shared.deadlines.first;
        let question = vendor.request(&asked, format);
        let begun = Exchange::begin(shared.name.clone(), &shared.network, &question, limit);
        let mut exchange = match begun.await {
            Ok(Ok(exchange)) => exchange,
            Ok(Err(refusal)) => return Err(vendor.refused(refusal)),
            Err(ProviderError::Timeout { provider, stage: "answer", after }) => {
                return Err(ProviderError::Timeout { provider, stage: "first audio", after });
            }
            Err(error) => return Err(error),
        };
        if let Some(kind) = exchange.header("content-type").filter(|kind| !vendor.takes(kind)) {
            let reason = format!("{} in place of audio", in_short(kind));
            return Err(ProviderError::Protocol { provider: shared.name.clone(), reason });
        }
        let mut reply = vendor.reply(&asked, format);
        let mut voiced = Vec::new();
        loop {
            let body = next(shared, &mut exchange, speech, out).await?;
            match &body {
                Some(octets) => reply.received(octets, &mut voiced)?,
                None => reply.ended(&mut voiced)?,
            }
            for news in voiced.drain(..) {
                if let Voiced::Failed { error, .. } = news {
                    return Err(error);
                }
                let heard = speech.hear(&news, Instant::now().into_std());
                heard.map_err(|error| shared.failed(error.to_string()))?;
            }
            if body.is_none() {
                break;
            }
        }
    }
    if speech.is_missing() {
        return Err(shared.silent());
    }
    speech.finish();
    Ok(())
}

/// The next octets of the answer; hands chunks to the call meanwhile, and does not read on while too many wait.
async fn next(
    shared: &Shared,
    exchange: &mut Exchange,
    speech: &mut Speech,
    out: &Out,
) -> Result<Option<bytes::Bytes>, ProviderError> {
    loop {
        let deadline = speech.deadline();
        let full = speech.waiting() >= WAITING;
        tokio::select! {
            biased;
            place = out.reserve(), if speech.has_chunk() => match place {
                Ok(place) => place.send(Ok(speech.take_chunk())),
                // The caller of this future sees that too and drops it.
                Err(_) => std::future::pending().await,
            },
            body = exchange.next(), if !full => return body,
            (stage, after) = late(deadline), if !full => {
                return Err(ProviderError::Timeout { provider: shared.name.clone(), stage, after });
            }
        }
        if full && speech.waiting() < WAITING {
            speech.resumed(Instant::now().into_std());
        }
    }
}

/// Leaves a warm connection behind. What comes back does not matter.
pub(super) async fn warm(shared: Arc<Shared>, request: Request) {
    let limit = shared.connect_timeout;
    let begun = Exchange::begin(shared.name.clone(), &shared.network, &request, limit).await;
    if let Ok(Ok(exchange)) = begun {
        let _ = exchange.whole(limit).await;
    }
}

/// All pages of the list of voices.
pub(super) async fn voices(shared: Arc<Shared>, first: Request) -> Result<Vec<Voice>, ProviderError> {
    let mut voices = Vec::new();
    let mut request = Some(first);
    for _ in 0..PAGES {
        let Some(asked) = request.take() else { break };
        let begun = Exchange::begin(shared.name.clone(), &shared.network, &asked, LIST_LIMIT).await?;
        let exchange = begun.map_err(|refusal| refusal.into_error(shared.name.clone()))?;
        let (page, next) = shared.vendor.listed(&exchange.whole(LIST_LIMIT).await?)?;
        voices.extend(page);
        request = next.and_then(|next| shared.vendor.list(Some(&next)));
    }
    Ok(voices)
}
