//! What a type must not be able to do, checked by the compiler.

/// Fails to compile if `$type` implements `$trait`: then there are two impls to choose `NAME` from.
macro_rules! assert_lacks {
    ($type:ty: $($trait:path),+) => { $({
        trait Chosen<A> { const NAME: () = (); }
        impl<T: ?Sized> Chosen<()> for T {}
        struct Implements;
        impl<T: ?Sized + $trait> Chosen<Implements> for T {}
        let () = <$type as Chosen<_>>::NAME;
    })+ };
}

pub(crate) use assert_lacks;
