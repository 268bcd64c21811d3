//! ONNX Runtime, loaded from a shared library at run time: one environment for every model of the process.

use super::models::ModelError;
use ort::environment::Environment;
use ort::ep;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use std::path::Path;
use std::sync::OnceLock;

/// The process's environment. ONNX Runtime allows exactly one, for as long as the process lives.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// ONNX Runtime, ready to open models.
#[derive(Clone, Debug)]
pub struct Runtime {
    environment: Environment,
}

impl Runtime {
    /// Loads `library` (`libonnxruntime.so` 1.23 or later). A second call returns the environment of the first,
    /// whatever its path: a process can load one runtime only.
    ///
    /// # Errors
    /// [`ModelError::Refused`] when the file is no ONNX Runtime of a usable version.
    pub fn open(library: &Path) -> Result<Self, ModelError> {
        if let Some(environment) = ENVIRONMENT.get() {
            return Ok(Self { environment: environment.clone() });
        }
        static OPENING: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one_at_a_time = OPENING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(environment) = ENVIRONMENT.get() {
            return Ok(Self { environment: environment.clone() });
        }
        let refused = |reason: String| ModelError::Refused { file: library.to_path_buf(), reason };
        let environment = ort::init_from(library)
            .map_err(|e| refused(e.to_string()))?
            .with_name("offhook")
            .with_telemetry(false)
            .build()
            .map_err(|e| refused(e.to_string()))?;
        environment.set_log_level(ort::logging::LogLevel::Error);
        Ok(Self { environment: ENVIRONMENT.get_or_init(|| environment).clone() })
    }

    /// The environment itself, for engines that open their own sessions.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Opens a model for use by one thread at a time. The session computes on the thread that calls it and
    /// spins nowhere, so the inference pool alone decides how many cores are busy.
    ///
    /// # Errors
    /// [`ModelError::Refused`] when the runtime cannot read the file.
    pub fn session(&self, model: &Path) -> Result<Session, ModelError> {
        let refused = |reason: String| ModelError::Refused { file: model.to_path_buf(), reason };
        self.builder().and_then(|mut builder| builder.commit_from_file(model)).map_err(|e| refused(e.to_string()))
    }

    /// The same for a model that has been read already.
    ///
    /// # Errors
    /// The runtime's, when it cannot read the bytes.
    pub fn session_from_bytes(&self, model: &[u8]) -> ort::Result<Session> {
        self.builder()?.commit_from_memory(model)
    }

    /// Settings of every session: one thread, and no arena, because an arena keeps the largest buffer of every
    /// clip length it ever saw.
    fn builder(&self) -> ort::Result<SessionBuilder> {
        Ok(Session::builder(&self.environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_memory_pattern(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_execution_providers([ep::CPU::default().with_arena_allocator(false).build()])?)
    }
}
