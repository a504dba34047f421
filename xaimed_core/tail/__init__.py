"""AblationCAM at XGradCAM's price: the tail of a network, asked what each channel of a layer is worth."""

from xaimed_core.tail.interface import ChannelDrops, Tail, TailObserver
from xaimed_core.tail.observer import observe_tail

__all__ = ["ChannelDrops", "Tail", "TailObserver", "observe_tail"]
