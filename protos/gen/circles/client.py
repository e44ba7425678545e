"""The partner's SDK. Written by protos/generate.sh; the code is `services.client`."""

from services.client import *
from services.client import __all__ as __all__
