//! What a session knows, written under the component's name and read back.

use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};

use crate::error::ProcessError;
use crate::frame::Frame;
use crate::memory::Memory;
use crate::session::Session;

/// Writes the memory of a component; as the changes since it was saved where it cannot be saved
/// now.
pub(crate) fn write(session: &mut Session, writer: &mut SnapshotWriter<'_>) {
    writer.value("component", &session.identity());
    if let Err(error) = session.save() {
        tracing::error!(%error, "The component cannot save its memory; what it was told is written instead.");
    }
    let whole = session.is_whole();
    writer.value("whole", &whole);
    if !whole {
        tracing::error!(
            "{} cannot give its state: what is saved now holds nothing it has learned and cannot be continued.",
            session.identity()
        );
    }
    session.memory().write(writer);
}

/// Gives a component its memory back; its last answer.
pub(crate) fn read(
    session: &mut Session,
    reader: &SnapshotReader<'_>,
) -> Result<Frame, rareclip_core::BoxError> {
    let found: String = reader.value("component")?;
    let expected = session.identity();
    if found != expected {
        return Err(ProcessError::OtherComponent { found, expected }.into());
    }
    if !reader.value::<bool>("whole")? {
        return Err(ProcessError::NoState.into());
    }
    Ok(session.load(Memory::read(reader)?)?)
}
