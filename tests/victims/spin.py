# Variables that change all the time, each a whole at every moment.


def spin():
    number = 0
    print("ready", flush=True)
    while True:
        number += 1
        pair = (number, -number)
        text = "%d:%d" % pair
        items = [text, text]
        del pair, items


def hold(kept):
    spin()


hold(["kept"])
