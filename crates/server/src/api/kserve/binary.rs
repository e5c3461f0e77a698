//! Tensors as bytes: the binary tensor data extension.

use bytes::Bytes;

use super::super::problem::ApiError;

/// Takes a `BYTES` tensor apart: each element after its length, 4 bytes little-endian. `max`
/// elements at most.
pub(super) fn elements(tensor: &Bytes, max: usize) -> Result<Vec<Bytes>, ApiError> {
    let mut elements = Vec::new();
    let mut at = 0;
    while at < tensor.len() {
        if elements.len() == max {
            return Err(super::super::counted::too_many(max));
        }
        let rest = &tensor[at..];
        let Some((length, after)) = rest.split_first_chunk::<4>() else {
            let problem = format!(
                "element {}: {} bytes left where a length of 4 bytes should stand",
                elements.len(),
                rest.len()
            );
            return Err(ApiError::invalid("binary data", problem));
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > after.len() {
            let problem = format!(
                "element {}: {length} bytes announced and {} left",
                elements.len(),
                after.len()
            );
            return Err(ApiError::invalid("binary data", problem));
        }
        elements.push(tensor.slice(at + 4..at + 4 + length));
        at += 4 + length;
    }
    Ok(elements)
}

/// Appends an element of a `BYTES` tensor.
pub(super) fn push_element(out: &mut Vec<u8>, element: &[u8]) {
    let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(element);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(bytes: &'static [u8]) -> String {
        elements(&Bytes::from_static(bytes), 4)
            .unwrap_err()
            .problem()
            .detail
            .clone()
    }

    #[test]
    fn elements_stand_after_their_lengths() {
        let tensor = Bytes::from_static(b"\x02\0\0\0AB\0\0\0\0\x01\0\0\0C");
        assert_eq!(elements(&tensor, 3).unwrap(), ["AB", "", "C"]);
    }

    #[test]
    fn a_tensor_that_breaks_off_is_refused() {
        assert!(said(b"\x02\0\0").contains("element 0: 3 bytes left"));
        assert!(
            said(b"\x01\0\0\0A\xff\xff\xff\xffB")
                .contains("element 1: 4294967295 bytes announced and 1 left")
        );
    }

    #[test]
    fn many_empty_elements_are_refused() {
        assert!(said(&[0; 20]).contains("more than 4 images"));
    }

    proptest! {
        #[test]
        fn any_bytes_get_elements_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let tensor = Bytes::from(bytes);
            if let Ok(found) = elements(&tensor, 8) {
                prop_assert_eq!(found.iter().map(|e| e.len() + 4).sum::<usize>(), tensor.len());
            }
        }

        #[test]
        fn what_is_written_is_read(list in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..8)) {
            let mut tensor = Vec::new();
            for element in &list {
                push_element(&mut tensor, element);
            }
            let found = elements(&Bytes::from(tensor), 8).unwrap();
            prop_assert_eq!(found.iter().map(|e| e.to_vec()).collect::<Vec<_>>(), list);
        }
    }
}
