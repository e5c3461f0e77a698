//! One thread per backbone: decoded images of all streams go through it, together where the backbone runs them together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ndarray::{Array3, Array4, ArrayView4, Axis};
use rareclip_core::backbone::Batching;
use rareclip_core::{Backbone, Features};
use tokio::sync::oneshot;

use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::watchdog::{Stuck, Watchdog};

/// Threads of a backbone that may hang before it is given up.
const MOST_STUCK: u64 = 2;

/// What the backbone says of an image.
pub(crate) struct Encoded {
    pub(crate) features: Features,
    /// How long the batch took.
    pub(crate) time: Duration,
    /// Images in it.
    pub(crate) batch: usize,
}

struct Item {
    tensor: Array3<f32>,
    /// Told the number of the thread that has begun with the image.
    begun: Option<oneshot::Sender<u64>>,
    reply: oneshot::Sender<Result<Encoded, ServiceError>>,
}

/// What the threads of a backbone share; one of them at a time takes images.
struct Line {
    name: String,
    backbone: Arc<dyn Backbone>,
    max_batch: usize,
    metrics: Arc<Metrics>,
    /// Missing once the backbone is given up.
    items: Mutex<Option<Receiver<Item>>>,
    /// The number of the thread that takes images; those before it hang.
    thread: AtomicU64,
    /// Those that hang, until they end.
    stuck: Mutex<Vec<(u64, Stuck)>>,
}

/// The queue in front of a backbone.
pub(crate) struct Encoder {
    queue: Sender<Item>,
    line: Arc<Line>,
}

impl Encoder {
    /// Starts the thread. It ends when the encoder is dropped.
    pub(crate) fn start(
        name: &str,
        backbone: Arc<dyn Backbone>,
        max_batch: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ServiceError> {
        let (queue, items) = channel();
        let line = Arc::new(Line::new(name, backbone, max_batch, metrics, items));
        line.start(0)?;
        Ok(Self { queue, line })
    }

    /// Encodes an image `[3, side, side]`, normalised as the backbone's recipe says.
    ///
    /// # Errors
    /// [`ServiceError::Stuck`] when the backbone has not ended in the time that `watchdog` allows; its other images go to
    /// another thread.
    pub(crate) async fn encode(
        &self,
        tensor: Array3<f32>,
        watchdog: &Arc<Watchdog>,
    ) -> Result<Encoded, ServiceError> {
        let (reply, answer) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let gone = || ServiceError::Internal("the backbone's thread has ended".into());
        let item = Item {
            tensor,
            begun: Some(begun),
            reply,
        };
        self.queue.send(item).map_err(|_| gone())?;
        let thread = begins.await.map_err(|_| self.line.given_up())?;
        let limit = watchdog.limit();
        match tokio::time::timeout(limit, answer).await {
            Ok(encoded) => encoded.map_err(|_| gone())?,
            Err(_) => {
                self.line.replace(thread, watchdog)?;
                Err(ServiceError::Stuck {
                    what: format!("backbone {}", self.line.name),
                    seconds: limit.as_secs_f64(),
                })
            }
        }
    }
}

impl Line {
    fn new(
        name: &str,
        backbone: Arc<dyn Backbone>,
        max_batch: usize,
        metrics: Arc<Metrics>,
        items: Receiver<Item>,
    ) -> Self {
        let max_batch = match backbone.batching() {
            // A batch would only hold back the answer of its first image.
            Batching::None => 1,
            _ => max_batch.max(1),
        };
        Self {
            name: name.to_owned(),
            backbone,
            max_batch,
            metrics,
            items: Mutex::new(Some(items)),
            thread: AtomicU64::new(0),
            stuck: Mutex::default(),
        }
    }

    fn given_up(&self) -> ServiceError {
        ServiceError::Internal(format!(
            "backbone {} does not end or has failed; restart the service",
            self.name
        ))
    }

    fn start(self: &Arc<Self>, thread: u64) -> Result<(), ServiceError> {
        let line = Arc::clone(self);
        std::thread::Builder::new()
            .name(format!("backbone {}", self.name))
            .spawn(move || line.work(thread))
            .map(drop)
            .map_err(|error| ServiceError::Internal(format!("backbone thread: {error}")))
    }

    /// Lets another thread go on instead of `thread`, which hangs. Every image of its batch comes here; the first starts it.
    fn replace(
        self: &Arc<Self>,
        thread: u64,
        watchdog: &Arc<Watchdog>,
    ) -> Result<(), ServiceError> {
        let next = thread + 1;
        let first = self
            .thread
            .compare_exchange(thread, next, Ordering::AcqRel, Ordering::Acquire);
        if first.is_err() {
            return Ok(());
        }
        let report = watchdog.report(&format!("backbone {}", self.name), watchdog.limit());
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        stuck.push((thread, report));
        let hanging = stuck.len() as u64;
        drop(stuck);
        if hanging > MOST_STUCK {
            // What waits is refused, and so is what comes.
            *self.items.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Ok(());
        }
        self.start(next)
    }

    fn work(&self, thread: u64) {
        while let Some(batch) = self.batch(thread) {
            self.metrics.batch_size.observe(batch.len() as f64);
            encode(&*self.backbone, batch);
        }
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        stuck.retain(|(number, _)| *number != thread);
    }

    /// What there is to do; `None` when another thread has taken over, or there will be nothing more.
    fn batch(&self, thread: u64) -> Option<Vec<Item>> {
        loop {
            if self.thread.load(Ordering::Acquire) != thread {
                return None;
            }
            // Only the present thread waits here, and one that hangs does not.
            let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
            // No waiting for a batch to fill: it is whatever was decoded while the one before was under way.
            let queue = items.as_ref()?;
            let mut batch = vec![queue.recv().ok()?];
            while batch.len() < self.max_batch
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            drop(items);
            batch.retain(|item| !item.reply.is_closed());
            for begun in batch.iter_mut().filter_map(|item| item.begun.take()) {
                let _ = begun.send(thread);
            }
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }
}

fn encode(backbone: &dyn Backbone, batch: Vec<Item>) {
    let start = Instant::now();
    let count = batch.len();
    match encode_all(backbone, &batch) {
        Ok(all) => {
            let time = start.elapsed();
            for (item, features) in batch.into_iter().zip(all) {
                let encoded = Encoded {
                    features,
                    time,
                    batch: count,
                };
                // Whoever asked may have gone.
                let _ = item.reply.send(Ok(encoded));
            }
        }
        Err(error) if count == 1 => {
            for item in batch {
                let _ = item
                    .reply
                    .send(Err(ServiceError::Internal(error.to_string())));
            }
        }
        // One image must not spoil the others.
        Err(_) => batch
            .into_iter()
            .for_each(|item| encode(backbone, vec![item])),
    }
}

fn encode_all(backbone: &dyn Backbone, batch: &[Item]) -> Result<Vec<Features>, ServiceError> {
    let features = match batch {
        [single] => guarded(backbone, single.tensor.view().insert_axis(Axis(0)))?,
        _ => {
            let views: Vec<_> = batch.iter().map(|item| item.tensor.view()).collect();
            let tensor: Array4<f32> = ndarray::stack(Axis(0), &views)
                .map_err(|error| ServiceError::Internal(format!("batch: {error}")))?;
            guarded(backbone, tensor.view())?
        }
    };
    if features.len() != batch.len() {
        return Err(ServiceError::Internal(format!(
            "the backbone gave {} results for {} images",
            features.len(),
            batch.len()
        )));
    }
    features.iter().try_for_each(Features::check)?;
    Ok(features)
}

/// A backbone of another crate may panic; the thread must outlive that.
fn guarded(
    backbone: &dyn Backbone,
    images: ArrayView4<'_, f32>,
) -> Result<Vec<Features>, ServiceError> {
    catch_unwind(AssertUnwindSafe(|| backbone.encode(images)))
        .map_err(|_| ServiceError::Internal("the backbone panicked".into()))?
        .map_err(|error| ServiceError::Internal(format!("backbone: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;

    use ndarray::Array1;
    use rareclip_core::backbone::BackboneSpec;
    use rareclip_core::{BoxError, Grid, InputRecipe};

    use super::*;

    /// Hangs on the first images that it gets, until it is let go.
    struct Hanging {
        spec: BackboneSpec,
        first: AtomicU64,
        held: Mutex<bool>,
        let_go: Condvar,
        batching: Batching,
    }

    impl Hanging {
        fn on_the_first(images: u64) -> Arc<Self> {
            let grid = Grid {
                rows: 1,
                columns: 1,
            };
            Arc::new(Self {
                spec: BackboneSpec {
                    input: InputRecipe::clip(1),
                    grid,
                    blocks: Vec::new(),
                    embedding_width: 1,
                    weights: String::new(),
                },
                first: AtomicU64::new(images),
                held: Mutex::new(true),
                let_go: Condvar::new(),
                batching: Batching::None,
            })
        }

        fn that_batches(batching: Batching) -> Self {
            let never = Arc::into_inner(Self::on_the_first(0)).unwrap();
            Self { batching, ..never }
        }

        fn let_go(&self) {
            *self.held.lock().unwrap() = false;
            self.let_go.notify_all();
        }
    }

    impl Backbone for Hanging {
        fn spec(&self) -> &BackboneSpec {
            &self.spec
        }

        fn batching(&self) -> Batching {
            self.batching
        }

        fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
            let one_less = |left: u64| left.checked_sub(1);
            let hangs = self
                .first
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
            if hangs.is_ok() {
                let held = self.held.lock().unwrap();
                drop(self.let_go.wait_while(held, |held| *held).unwrap());
            }
            let features = |_| Features::new(self.spec.grid, Default::default(), Array1::ones(1));
            Ok((0..images.len_of(Axis(0))).map(features).collect())
        }
    }

    fn encoder(backbone: &Arc<Hanging>) -> (Encoder, Arc<Watchdog>) {
        let shared: Arc<dyn Backbone> = Arc::<Hanging>::clone(backbone);
        let encoder = Encoder::start("test", shared, 1, Arc::new(Metrics::new())).unwrap();
        let watchdog = Arc::new(Watchdog::new(Duration::from_millis(200)));
        (encoder, watchdog)
    }

    fn image() -> Array3<f32> {
        Array3::zeros((3, 1, 1))
    }

    #[test]
    fn images_go_through_a_backbone_together_only_if_it_runs_them_together() {
        let taken = |batching: Batching| {
            let backbone = Arc::new(Hanging::that_batches(batching));
            let (queue, items) = channel();
            let line = Line::new("test", backbone, 8, Arc::new(Metrics::new()), items);
            let mut answers = Vec::new();
            for _ in 0..3 {
                let (reply, answer) = oneshot::channel();
                let item = Item {
                    tensor: image(),
                    begun: None,
                    reply,
                };
                queue.send(item).unwrap();
                answers.push(answer);
            }
            line.batch(0).unwrap().len()
        };
        assert_eq!(taken(Batching::None), 1);
        assert_eq!(taken(Batching::Exact), 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backbone_that_hangs_fails_its_image_and_goes_on_with_the_next() {
        let backbone = Hanging::on_the_first(1);
        let (encoder, watchdog) = encoder(&backbone);
        let (first, second) = tokio::join!(
            encoder.encode(image(), &watchdog),
            encoder.encode(image(), &watchdog)
        );
        assert!(matches!(first, Err(ServiceError::Stuck { .. })));
        assert_eq!(second.unwrap().batch, 1);
        assert!(watchdog.problem().unwrap().contains("backbone test"));
        backbone.let_go();
        while watchdog.problem().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(encoder.encode(image(), &watchdog).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backbone_that_hangs_again_and_again_is_given_up() {
        let backbone = Hanging::on_the_first(100);
        let (encoder, watchdog) = encoder(&backbone);
        for _ in 0..=MOST_STUCK {
            let hung = encoder.encode(image(), &watchdog).await;
            assert!(matches!(hung, Err(ServiceError::Stuck { .. })));
        }
        let refused = encoder.encode(image(), &watchdog).await;
        assert!(matches!(refused, Err(ServiceError::Internal(_))));
        backbone.let_go();
    }
}
