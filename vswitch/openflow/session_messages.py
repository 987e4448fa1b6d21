"""What controllers and switch say about their conversation, in each version: features, roles, asynchronous configuration,
bundles, controller-status, request-forward."""
from __future__ import annotations

from vswitch.openflow import messages as ofp
from vswitch.openflow.layout import Layout, Many, Properties, Rest, bad_property_length
from vswitch.openflow.port_messages import PORT10
from vswitch.openflow.versions import OF10, OF11, OF12, OF13, OF14, OF15

# -- features reply (1.0: 5.3.1; 1.1: A.3.1; 1.3: 7.3.1)
FEATURES10 = Layout("FeaturesReply10", "Q datapath_id, I n_buffers, B n_tables, 3x, I capabilities, I actions",
                    ports=Many(PORT10))
FEATURES11 = Layout("FeaturesReply11", "Q datapath_id, I n_buffers, B n_tables, 3x, I capabilities, I reserved",
                    ports=Many(ofp.PORT))
FEATURES_REPLY = {OF10: FEATURES10, OF11: FEATURES11, OF12: FEATURES11, OF13: ofp.FEATURES_REPLY, OF14: ofp.FEATURES_REPLY,
                  OF15: ofp.FEATURES_REPLY}
ACTIONS10 = 0xfff           # every action of 1.0, ENQUEUE the last

# -- roles (1.2: A.3.9; 1.5: 7.3.8)
ROLE15 = Layout("RoleMessage15", "I role, H short_id=0xffff, 2x, Q generation_id")
ROLE = {OF12: ofp.ROLE, OF13: ofp.ROLE, OF14: ofp.ROLE, OF15: ROLE15}
ROLE_STATUS = Layout("RoleStatus", "I role, B reason, 3x, Q generation_id", properties=Properties({}))
SHORT_ID_UNDEFINED = 0xffff  # OFPCID_UNDEFINED
ROLE_REASON_MASTER, ROLE_REASON_CONFIG = 0, 1

# -- asynchronous configuration (1.4: 7.3.10; 1.5 has more kinds)
_MASK = Layout("AsyncMask", "H type, H length, I mask", fault=bad_property_length)
ASYNC_MASK = _MASK
ASYNC14 = Layout("AsyncConfig14", properties=Properties(dict.fromkeys(range(12), _MASK)))
ASYNC15 = Layout("AsyncConfig15", properties=Properties(dict.fromkeys(range(16), _MASK)))
ASYNC = {OF13: ofp.ASYNC, OF14: ASYNC14, OF15: ASYNC15}

# -- bundles (1.4: 7.3.9.2; scheduled ones 1.5.1: 7.3.9.5)
TIME = "Q seconds, I nanoseconds, 4x"
BUNDLE_TIME = Layout("BundleTime", f"H type=1, H length, 4x, {TIME}", fault=bad_property_length)
BUNDLE_CONTROL14 = Layout("BundleControl14", "I bundle_id, H type, H flags", properties=Properties({}))
BUNDLE_CONTROL15 = Layout("BundleControl15", "I bundle_id, H type, H flags", properties=Properties({1: BUNDLE_TIME}))
BUNDLE_CONTROL = {OF13: BUNDLE_CONTROL14, OF14: BUNDLE_CONTROL14, OF15: BUNDLE_CONTROL15}
BUNDLE_ADD = Layout("BundleAdd", "I bundle_id, 2x, H flags", message=Rest())
BUNDLE_FEATURES_TIME = Layout(
    "BundleFeaturesTime", "H type=1, H length, 4x, Q accuracy_sec, I accuracy_nsec, 4x, Q future_sec, I future_nsec, 4x,"
    " Q past_sec, I past_nsec, 4x, Q timestamp_sec, I timestamp_nsec, 4x", fault=bad_property_length)
BUNDLE_FEATURES_REQUEST = Layout("BundleFeaturesRequest", "I feature_request_flags, 4x",
                                 properties=Properties({1: BUNDLE_FEATURES_TIME}))
BUNDLE_FEATURES = Layout("BundleFeatures", "H capabilities, 6x", properties=Properties({1: BUNDLE_FEATURES_TIME}))

# -- controller-status (1.5: 7.4.6) and request-forward (1.4: 7.4.6)
URI = Layout("ControllerUri", "H type=0, H length", align=8, fault=bad_property_length, uri=Rest())
CONTROLLER_STATUS = Layout("ControllerStatusMessage", "H length, H short_id=0xffff, I role, B reason, B channel_status, 6x",
                           properties=Properties({0: URI}))
(REASON_REQUEST, REASON_CHANNEL, REASON_ROLE, REASON_ADDED, REASON_REMOVED, REASON_SHORT_ID) = range(6)
CHANNEL_UP, CHANNEL_DOWN = 0, 1
REQUESTFORWARD = Layout("RequestForward", request=Rest())
FORWARDED_GROUP_MOD, FORWARDED_METER_MOD = 0, 1     # OFPRFR_*

# -- experimenter messages and multipart of 1.0 (ofp_vendor_header)
VENDOR10 = Layout("Vendor10", "I experimenter", data=Rest())
MULTIPART10 = Layout("StatsMessage10", "H type, H flags", body=Rest())
VENDOR_MULTIPART10 = Layout("VendorStats10", "I experimenter", data=Rest())
