"""From trained weights to what EIE stores: `share` clusters weights so that each fits a few bits."""
