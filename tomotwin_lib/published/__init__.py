"""Data that TomoTwin's authors have published, fetched into a data folder.

``records`` says what there is, ``listing`` asks the server what a record holds, ``transfer`` downloads,
``unpacking`` opens archives, ``layout`` says where files belong, ``placing`` puts them there, ``receipts``
remembers it, and ``fetching`` does all of that for one name.
"""
