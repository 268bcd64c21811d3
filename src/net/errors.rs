//! The last transport error of each target, for people who ask why.

use super::limits::REMEMBERED;
use crate::sip::Target;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Errors by target; shared between the driver and its handles.
#[derive(Clone, Debug, Default)]
pub(super) struct TransportErrors(Arc<Mutex<HashMap<Target, String>>>);

impl TransportErrors {
    pub(super) fn note(&self, target: Target, reason: &str) {
        let mut errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() >= REMEMBERED && !errors.contains_key(&target) {
            errors.clear();
        }
        errors.insert(target, reason.to_owned());
    }

    pub(super) fn clear(&self, target: Target) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&target);
    }

    pub(super) fn last(&self, target: Target) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&target).cloned()
    }
}
