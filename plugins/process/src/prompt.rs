//! The prompt head `process`.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::Array1;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, Features, Prior, PromptHead, PromptHeadFactory, Slot, typetag};

use crate::frame::Frame;
use crate::options::{PromptOptions, open_request, widths};
use crate::session::{Opening, Session};
use crate::wire::{Reads, finite, number};

#[typetag::serde(name = "process")]
impl PromptHeadFactory for PromptOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Arc<dyn PromptHead>, BoxError> {
        let blocks = widths(self.blocks.iter().copied(), backbone)?;
        let opening = Opening {
            slot: Slot::Prompt,
            component: self.component.clone(),
            options: self.options.clone(),
            request: open_request(backbone, &blocks)?,
        };
        let session = Session::open(self.run()?, opening)?;
        session.stateless()?;
        let weights = session.opened().parse("weights");
        let weights: String = weights.map_err(|error| session.wrong_answer("open", error))?;
        Ok(Arc::new(ProcessPrompt {
            reads: Reads::new(backbone, blocks),
            weights: format!("{} {weights}", session.identity()),
            session: Mutex::new(session),
        }))
    }
}

/// A prompt head in another process.
struct ProcessPrompt {
    reads: Reads,
    weights: String,
    session: Mutex<Session>,
}

/// The prior in an answer.
fn read_prior(answer: &Frame, patches: usize) -> Result<Prior, String> {
    let image = number(answer, "prior_image")?;
    let values = finite(answer, "prior", &[patches])?;
    let probability = |value: &f32| (0.0..=1.0).contains(value);
    if let Some(other) = values
        .iter()
        .chain([&image])
        .find(|value| !probability(value))
    {
        return Err(format!("a prior of {other}, expected 0 to 1"));
    }
    Ok(Prior {
        image,
        patches: Array1::from_vec(values),
    })
}

impl PromptHead for ProcessPrompt {
    fn weights(&self) -> &str {
        &self.weights
    }

    fn prior(&self, features: &Features) -> Result<Prior, BoxError> {
        let mut request = Frame::request("prior");
        self.reads.write(&mut request, features)?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = session.ask(&request)?;
        let prior = read_prior(&answer, features.grid.patches());
        Ok(prior.map_err(|problem| session.wrong_answer("prior", problem))?)
    }
}
