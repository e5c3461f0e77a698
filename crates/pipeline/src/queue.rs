//! One thread per backbone: decoded images of all streams go through it, together where the
//! backbone runs them together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ndarray::{Array3, Array4, ArrayView4, Axis};
use rareclip_core::backbone::Batching;
use rareclip_core::{Backbone, Features};
use tokio::sync::oneshot;

use crate::{EncodeTime, Encoded, QueueError, Stuck, Watchdog};

/// Threads of a backbone that may hang before it is given up.
const MOST_STUCK: u64 = 2;

/// Told how many images each run of a backbone is for.
type Observer = Arc<dyn Fn(usize) + Send + Sync>;

struct Item {
    tensor: Array3<f32>,
    file_bytes: Option<u64>,
    /// How long decoding took.
    decode: Duration,
    /// Told the number of the thread that has begun with the image.
    begun: Option<oneshot::Sender<u64>>,
    reply: oneshot::Sender<Result<Encoded, QueueError>>,
}

/// What the threads of a backbone share; one of them at a time takes images.
struct Line {
    name: String,
    backbone: Arc<dyn Backbone>,
    max_batch: usize,
    batches: Observer,
    /// Missing once the backbone is given up.
    items: Mutex<Option<Receiver<Item>>>,
    /// The number of the thread that takes images; those before it hang.
    thread: AtomicU64,
    /// Those that hang, until they end.
    stuck: Mutex<Vec<(u64, Stuck)>>,
}

/// The queue in front of a backbone, whose thread encodes several images at once where the backbone
/// can.
pub struct Queue {
    queue: Sender<Item>,
    line: Arc<Line>,
}

impl Queue {
    /// Starts the thread, which ends when the queue is dropped. At most `max_batch` images go
    /// through the backbone at once; `batches` is told how many each time. `name` is for messages.
    ///
    /// # Errors
    /// [`QueueError::Thread`].
    pub fn start(
        name: &str,
        backbone: Arc<dyn Backbone>,
        max_batch: usize,
        batches: Observer,
    ) -> Result<Self, QueueError> {
        let (queue, items) = channel();
        let line = Arc::new(Line::new(name, backbone, max_batch, batches, items));
        line.start(0)?;
        Ok(Self { queue, line })
    }

    /// Encodes an image `[3, side, side]`, normalised as the backbone's recipe says. `file_bytes`
    /// is the size of its file, where known; `decode` is how long decoding took.
    ///
    /// # Errors
    /// [`QueueError::Stuck`] when the backbone has not ended in the time that `watchdog` allows;
    /// its other images go to another thread. [`QueueError::GivenUp`] when too many threads hang;
    /// otherwise what the backbone said.
    pub async fn encode(
        &self,
        tensor: Array3<f32>,
        file_bytes: Option<u64>,
        decode: Duration,
        watchdog: &Arc<Watchdog>,
    ) -> Result<Encoded, QueueError> {
        let (reply, answer) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let item = Item {
            tensor,
            file_bytes,
            decode,
            begun: Some(begun),
            reply,
        };
        // The receiver is dropped only when the backbone is given up.
        self.queue.send(item).map_err(|_| self.line.given_up())?;
        let thread = begins.await.map_err(|_| self.line.given_up())?;
        let limit = watchdog.limit();
        match tokio::time::timeout(limit, answer).await {
            Ok(encoded) => encoded.map_err(|_| QueueError::Gone)?,
            Err(_) => {
                self.line.replace(thread, watchdog)?;
                Err(QueueError::Stuck {
                    name: self.line.name.clone(),
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
        batches: Observer,
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
            batches,
            items: Mutex::new(Some(items)),
            thread: AtomicU64::new(0),
            stuck: Mutex::default(),
        }
    }

    fn given_up(&self) -> QueueError {
        QueueError::GivenUp {
            name: self.name.clone(),
        }
    }

    fn start(self: &Arc<Self>, thread: u64) -> Result<(), QueueError> {
        let line = Arc::clone(self);
        std::thread::Builder::new()
            .name(format!("backbone {}", self.name))
            .spawn(move || line.work(thread))
            .map(drop)
            .map_err(QueueError::Thread)
    }

    /// Lets another thread go on instead of `thread`, which hangs. Every image of its batch comes
    /// here; the first starts it.
    fn replace(self: &Arc<Self>, thread: u64, watchdog: &Arc<Watchdog>) -> Result<(), QueueError> {
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
            (self.batches)(batch.len());
            answer(&*self.backbone, batch);
        }
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        stuck.retain(|(number, _)| *number != thread);
    }

    /// What there is to do; `None` when another thread has taken over, or there will be nothing
    /// more.
    fn batch(&self, thread: u64) -> Option<Vec<Item>> {
        loop {
            if self.thread.load(Ordering::Acquire) != thread {
                return None;
            }
            // Only the present thread waits here, and one that hangs does not.
            let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
            // No waiting for a batch to fill: it is whatever was decoded while the one before was
            // under way.
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

/// Encodes a batch and answers for each of its images.
fn answer(backbone: &dyn Backbone, batch: Vec<Item>) {
    let start = Instant::now();
    let count = batch.len();
    match encode_all(backbone, &batch) {
        Ok(all) => {
            let time = start.elapsed();
            for (item, mut features) in batch.into_iter().zip(all) {
                features.file_bytes = item.file_bytes;
                let encoded = Encoded {
                    features,
                    time: EncodeTime {
                        decode: item.decode,
                        backbone: time,
                    },
                    batch: count,
                };
                // The caller may have stopped waiting.
                let _ = item.reply.send(Ok(encoded));
            }
        }
        Err(error) if count == 1 => {
            for (item, error) in batch.into_iter().zip([error]) {
                let _ = item.reply.send(Err(error));
            }
        }
        // One image must not spoil the others.
        Err(_) => batch
            .into_iter()
            .for_each(|item| answer(backbone, vec![item])),
    }
}

fn encode_all(backbone: &dyn Backbone, batch: &[Item]) -> Result<Vec<Features>, QueueError> {
    let features = match batch {
        [single] => guarded(backbone, single.tensor.view().insert_axis(Axis(0)))?,
        _ => {
            let views: Vec<_> = batch.iter().map(|item| item.tensor.view()).collect();
            let tensor: Array4<f32> = ndarray::stack(Axis(0), &views)
                .map_err(|error| QueueError::Backbone(format!("batch: {error}")))?;
            guarded(backbone, tensor.view())?
        }
    };
    if features.len() != batch.len() {
        return Err(QueueError::Backbone(format!(
            "it gave {} results for {} images",
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
) -> Result<Vec<Features>, QueueError> {
    catch_unwind(AssertUnwindSafe(|| backbone.encode(images)))
        .map_err(|_| QueueError::Panicked)?
        .map_err(|error| QueueError::Backbone(error.to_string()))
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

    fn queue(backbone: &Arc<Hanging>) -> (Queue, Arc<Watchdog>) {
        let shared: Arc<dyn Backbone> = Arc::<Hanging>::clone(backbone);
        let queue = Queue::start("test", shared, 1, Arc::new(|_| ())).unwrap();
        let watchdog = Arc::new(Watchdog::new(Duration::from_millis(200)));
        (queue, watchdog)
    }

    async fn encode(queue: &Queue, watchdog: &Arc<Watchdog>) -> Result<Encoded, QueueError> {
        queue.encode(image(), None, Duration::ZERO, watchdog).await
    }

    fn image() -> Array3<f32> {
        Array3::zeros((3, 1, 1))
    }

    #[test]
    fn images_go_through_a_backbone_together_only_if_it_runs_them_together() {
        let taken = |batching: Batching| {
            let backbone = Arc::new(Hanging::that_batches(batching));
            let (queue, items) = channel();
            let line = Line::new("test", backbone, 8, Arc::new(|_| ()), items);
            let mut answers = Vec::new();
            for _ in 0..3 {
                let (reply, answer) = oneshot::channel();
                let item = Item {
                    tensor: image(),
                    file_bytes: None,
                    decode: Duration::ZERO,
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
        let (queue, watchdog) = queue(&backbone);
        let (first, second) = tokio::join!(encode(&queue, &watchdog), encode(&queue, &watchdog));
        assert!(matches!(first, Err(QueueError::Stuck { .. })));
        assert_eq!(second.unwrap().batch, 1);
        assert!(watchdog.problem().unwrap().contains("backbone test"));
        backbone.let_go();
        while watchdog.problem().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(encode(&queue, &watchdog).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backbone_that_hangs_again_and_again_is_given_up() {
        let backbone = Hanging::on_the_first(100);
        let (queue, watchdog) = queue(&backbone);
        for _ in 0..=MOST_STUCK {
            let hung = encode(&queue, &watchdog).await;
            assert!(matches!(hung, Err(QueueError::Stuck { .. })));
        }
        let refused = encode(&queue, &watchdog).await;
        assert!(matches!(refused, Err(QueueError::GivenUp { .. })));
        backbone.let_go();
    }
}
