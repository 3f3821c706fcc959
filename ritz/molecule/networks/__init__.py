"""Wave functions of electrons as flax modules: electrons -> (sign, log |psi|)."""
