"""Sources of users' own modules that several tests write."""

MASKS = (  # a task with masks of two classes
    "from functools import partial\nimport torch\nfrom lossml.proxy import Split, Task\n"
    "from lossml.proxy.networks import EncoderDecoder\n"
    "def task():\n"
    "    images = torch.zeros(8, 1, 16, 16, dtype=torch.uint8)\n"
    "    masks = torch.arange(64).view(8, 8).repeat(8, 1, 1)\n"
    "    parts = [Split(images, masks % 2)] * 3\n"
    "    return Task('masks', 2, *parts, network=partial(EncoderDecoder, 1, 2), steps=16, batch_size=4)\n"
)
