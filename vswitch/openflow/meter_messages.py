"""Meters: 1.3 to 1.5 say them alike but for the features (1.3.5: 7.3.4.4, 7.3.5.12; 1.5.1: 7.3.5.15)."""
from __future__ import annotations

from vswitch.openflow import messages as ofp
from vswitch.openflow.layout import Layout
from vswitch.openflow.versions import OF13, OF14, OF15

METER_FEATURES15 = Layout("MeterFeatures15", "I max_meter, I band_types, I capabilities, B max_bands, B max_color, 2x,"
                          " I features, 4x")
METER_FEATURES = {OF13: ofp.METER_FEATURES, OF14: ofp.METER_FEATURES, OF15: METER_FEATURES15}
FEATURE_ACTION_SET, FEATURE_ANY_POSITION, FEATURE_MULTI_LIST = 1, 2, 4


def meter_features(version: int, entry: bytes) -> bytes:
    """1.3's ofp_meter_features as the version's. As an action, a meter may stand anywhere and several times."""
    if version < OF15:
        return entry
    return entry + (FEATURE_ACTION_SET | FEATURE_ANY_POSITION | FEATURE_MULTI_LIST).to_bytes(4, "big") + bytes(4)


def meter_stats(version: int, entry: bytes) -> bytes:
    """1.3's ofp_meter_stats as the version's: 1.5 calls flow_count ref_count, in the same place."""
    return entry
